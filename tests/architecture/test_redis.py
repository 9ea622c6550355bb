"""Redis: keys have one home, scripts say what they do, and nothing asks for a reply without bounds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from executions.query import values
from executions.registry import indexes, keys, records, rows, scripts
from executions.registry.scripts import Script
from tests.architecture.source import (
    LUA,
    ROOT,
    functions_in,
    lua_code,
    lua_files,
    name_of,
    python_files,
    strings_in,
    tree_of,
)

SCRIPTS = pytest.mark.parametrize("path", lua_files(), ids=lambda path: path.stem)
PRELUDE = LUA / "_prelude.lua"

#: The parts of a header, in their order.
HEADER = ("KEYS", "ARGV", "REPLY", "EFFECT")

#: Commands whose time or reply grows with the data.
UNBOUNDED = {
    "KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN", "SMEMBERS", "SINTER", "SUNION", "SDIFF", "HGETALL", "HKEYS", "HVALS",
    "LRANGE", "SORT", "FLUSHDB", "FLUSHALL", "XRANGE", "ZRANGE", "ZREVRANGE",
}  # fmt: skip

#: The same, as methods of the driver.
UNBOUNDED_METHODS = {"keys", "scan", "scan_iter", "smembers", "sinter", "sunion", "flushdb", "flushall", "hkeys"}

#: How a key looks in the code that makes it.
KEY_TEXT = re.compile(
    r"^:?(?:x|log|met|cache|slots|parked|answers|worker|service|held|session|logins|counted):|:\{|\{0\}|"
    r"^:(?:ix|counts|ids|started|finished|duration|values|marks|outbox|due|stops|events|meta|schema|services|workers"
    r"|leader|functions|told|commands|group|chord|holders|users|tokens|audit|bulk|bulks|carried|linkkey|views)(?:$|:)"
)


def test_keys_are_written_in_one_module_only() -> None:
    elsewhere = [
        f"{name_of(path)}:{line}: {text!r}"
        for path in python_files()
        if path.name != "keys.py"
        for line, text in strings_in(tree_of(path))
        if KEY_TEXT.search(text)
    ]
    assert elsewhere == []


def test_keys_py_describes_every_key_that_it_makes() -> None:
    tree = tree_of(ROOT / "executions/registry/keys.py")
    texts = {text for _, text in strings_in(tree)}
    last_words = {word for text in texts for word in re.findall(r"(?:^|:)([a-z]+):?$", text)}
    table = set(re.findall(r"^\| `ns:(?:\{[n0]\}:)?([a-z]+)", keys.__doc__ or "", re.MULTILINE))
    assert last_words - table - {"chord"} == set()


def test_every_key_that_is_made_is_known_to_whoever_looks_through_all_keys() -> None:
    table = re.findall(r"^\| `ns:\{[n0]\}:([a-z]+)", keys.__doc__ or "", re.MULTILINE)
    assert {*table, "chord"} == keys.KINDS
    assert keys.kind_of("ex", keys.shard_keys("ex", 7).log("a:b", 3)) == ("log", 7, "a:b:3")
    assert keys.kind_of("ex", "ex:{0}:nothing") == ("", 0, "")


def test_what_makes_a_record_key_also_takes_it_apart() -> None:
    for given in ("0195f0c2-0000-7000-8000-000000000001", "their-own:x:id", "a b"):
        assert keys.execution_of(keys.shard_keys("ex", 7).record(given)) == given


@SCRIPTS
def test_a_script_says_what_it_takes_and_does(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith(f"-- {path.stem}: ")
    assert lines[0].endswith((".", ")"))
    head = [line for line in lines if line.startswith("--")]
    found = [word for line in head for word in HEADER if line.startswith(f"-- {word}")]
    assert found == list(HEADER)


@SCRIPTS
def test_a_script_has_one_typed_wrapper(path: Path) -> None:
    constant = path.stem.upper()
    assert isinstance(getattr(scripts, constant), Script)
    callers = [
        function
        for file in python_files("executions/registry")
        for function in functions_in(tree_of(file))
        if re.search(rf"scripts\.{constant}(\.queue|\.before|\.many)?\(", ast.unparse(function))
    ]
    assert callers
    for function in callers:
        assert function.returns is not None, function.name
        given = [a for a in (*function.args.args, *function.args.kwonlyargs) if a.arg != "self"]
        assert all(argument.annotation for argument in given), function.name


def test_every_script_that_is_read_is_a_file() -> None:
    known = {name.lower() for name, value in vars(scripts).items() if isinstance(value, Script)}
    assert known == {path.stem for path in lua_files()}


@pytest.mark.parametrize("path", [*lua_files(), PRELUDE], ids=lambda path: path.stem)
def test_a_script_runs_nothing_without_bounds(path: Path) -> None:
    commands = re.findall(r"redis\.p?call\(\s*'(\w+)'", lua_code(path))
    assert set(commands) & UNBOUNDED == set()
    ranges = re.findall(r"redis\.call\('ZRANGEBYSCORE'[^)]*\)", lua_code(path))
    assert [one for one in ranges if "LIMIT" not in one] == []


@pytest.mark.parametrize("path", [*lua_files(), PRELUDE], ids=lambda path: path.stem)
def test_a_script_touches_the_keys_that_it_was_given_only(path: Path) -> None:
    """A key that is made inside of a script breaks on a cluster, and hides from `KEYS`."""
    named = set(re.findall(r"\b([A-Z]+)\b(?=[^=\n]*=[^=\n]*KEYS\[)", lua_code(PRELUDE)))
    for command, key in re.findall(r"redis\.p?call\(\s*'(\w+)'\s*,?\s*([^,)\s]*)", lua_code(path)):
        if command != "TIME":
            assert key in named or re.fullmatch(r"KEYS\[\w+\]", key), f"{command} {key}"


def calls(methods: set[str], *, on: str) -> list[str]:
    """Find the calls of some methods on what is called like this."""
    return [
        f"{name_of(path)}:{node.lineno}: {node.func.attr}"
        for path in python_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in methods
        and on in ast.unparse(node.func.value)
    ]


def test_the_registry_asks_the_server_for_nothing_without_bounds() -> None:
    assert calls(UNBOUNDED_METHODS, on="client") == []


def test_the_scripts_and_python_agree_on_the_format() -> None:
    text = lua_code(PRELUDE)
    numbers = dict(re.findall(r"\b([A-Z_]+) = (\d+)\b", text))
    chunk, id_chunk = re.findall(r"local CHUNK, ID_CHUNK = (\d+), (\d+)", text)[0]
    assert int(numbers["FORMAT"]) == records.FORMAT
    assert int(chunk) == indexes.CHUNK
    assert int(id_chunk) == rows.ID_CHUNK
    most = re.findall(r"local NAME_MOST, VALUE_MOST, NUMBER_MOST = (\d+), (\d+), (\d+)", text)[0]
    assert tuple(map(int, most)) == (values.NAME_MOST, values.VALUE_MOST, values.NUMBER_MOST)


def test_a_pipeline_holds_only_what_belongs_to_a_key() -> None:
    """What a server answers for itself has no slot: a cluster's pipeline refuses it."""
    assert calls({"time", "info", "publish", "evalsha", "script_load"}, on="pipeline") == []
