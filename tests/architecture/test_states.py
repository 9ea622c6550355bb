"""One enum, one table, one picture, and the same words in the scripts."""

from __future__ import annotations

import re

from executions.registry.records import decode_record
from executions.registry.transitions import Transitions
from executions.states import ALIASES, REASONS, TERMINAL, TRANSITIONS, Reason, Status, parse_status
from tests.architecture.source import LUA, ROOT, lua_code, lua_files

PAGE = (ROOT / "docs/reference/states.md").read_text()

#: Which methods carry each verb out; each is one script of the same name.
CARRIED_OUT_BY: dict[str, set[str]] = {
    "submit": {"submit"},
    "start": {"start"},
    "expire": {"start", "settle"},
    "park": {"park"},
    "unpark": {"park"},
    "supply": {"supply"},
    "due": {"due"},
    "succeed": {"finish", "settle"},
    "fail": {"finish", "settle"},
    "stop": {"finish"},
    "retry": {"retry"},
    "terminate": {"terminate"},
    "rerun": {"rerun"},
}


def test_the_picture_is_the_table() -> None:
    drawn = {
        (verb, None if start == "[*]" else Status(start), Status(end))
        for start, end, verbs in re.findall(r"^ {4}(\S+) --> (\w+): (.+)$", PAGE, re.MULTILINE)
        for verb in re.split(r", ", verbs)
    }
    assert drawn == TRANSITIONS


def test_the_page_has_a_sentence_for_each_status_and_reason() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|", PAGE, re.MULTILINE))
    words = {status.value for status in Status} | {reason.value for reason in Reason if reason}
    assert words - rows.keys() == set()
    for status in Status:
        written = re.search(rf"^\| `{status}` \| (.+?) \|(.*?)\|$", PAGE, re.MULTILINE)
        assert written is not None
        assert set(re.findall(r"`([a-z-]+)`", written[2])) == {reason.value for reason in REASONS[status] if reason}


def test_the_page_lists_the_aliases() -> None:
    assert {alias for alias in ALIASES if f"`{alias}`" not in PAGE} == set()
    assert all(parse_status(alias.upper()) is status for alias, status in ALIASES.items())


def test_every_reason_goes_with_a_status() -> None:
    assert {reason for reasons in REASONS.values() for reason in reasons} == set(Reason)
    assert REASONS.keys() == set(Status)


def test_nothing_but_a_rerun_leaves_the_end() -> None:
    assert {verb for verb, start, _ in TRANSITIONS if start in TERMINAL} == {"rerun"}
    assert {end for _, _, end in TRANSITIONS} == set(Status)


def test_every_verb_has_its_method_and_its_script() -> None:
    assert {verb for verb, _, _ in TRANSITIONS} == CARRIED_OUT_BY.keys()
    for name in set().union(*CARRIED_OUT_BY.values()):
        assert callable(getattr(Transitions, name))
        assert (LUA / f"{name}.lua").exists()


def test_the_scripts_use_our_words() -> None:
    prelude = lua_code(LUA / "_prelude.lua")
    table = re.search(r"local CELERY = \{(.*?)\}", prelude, re.DOTALL)
    assert table is not None
    assert set(re.findall(r"(\w+) = '", table[1])) == {status.value for status in Status}
    for path in (*lua_files(), LUA / "_prelude.lua"):
        for status, reason in re.findall(r"(?:entry|close|announce)\([^()]*?'(\w+)',\s*'([\w-]*)'", lua_code(path)):
            assert Reason(reason) in REASONS[Status(status)], path.name
        for word in re.findall(r"(?:status|archive\([^()]*?,) ?[~=]?=? ?'(\w+)'", lua_code(path)):
            Status(word)


def test_a_record_reads_every_status() -> None:
    for status, reasons in REASONS.items():
        for reason in reasons:
            found = decode_record("x", {"no": "1", "st": status.value, "rs": reason.value})
            assert (found.status, found.reason) == (status, reason)
