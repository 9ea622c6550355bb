"""The source as these tests read it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("executions", "workers")
LUA = ROOT / "executions/registry/lua"


def python_files(*folders: str) -> list[Path]:
    """Give every Python file below the folders, or of both packages."""
    return sorted(path for folder in folders or PACKAGES for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """Give a file's place in the repository, for messages."""
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def functions_in(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def classes_in(tree: ast.AST) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def strings_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Give the text of every string with its line; docstrings are no strings in this sense."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def lua_files() -> list[Path]:
    """Give every script; the prelude is not one."""
    return sorted(path for path in LUA.glob("*.lua") if not path.name.startswith("_"))


def lua_code(path: Path) -> str:
    """Give a script without its comments."""
    return "\n".join(line.partition("--")[0] for line in path.read_text().splitlines())
