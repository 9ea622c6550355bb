"""Values as people type them: inputs, lengths of time, statuses."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from typing import Any

import click

from executions.annotation import load, read
from executions.function import Parameters
from executions.query.times import SECOND_US, read_length
from executions.query.tree import quote
from executions.states import Status, parse_status

_AGO = re.compile(r"\d{1,6}(ms|s|m|min|h|d|w)", re.IGNORECASE)


class Seconds(click.ParamType):
    """A length of time: `90`, `90s`, `5m`, `1h30m`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = read_length(str(value).strip()) / SECOND_US
        except ValueError:
            seconds = 0.0
        if seconds <= 0:
            self.fail(f"{value!r} is not a length of time such as 90, 90s, 5m or 1h30m", param, ctx)
        return seconds


class WholeSeconds(Seconds):
    """A length of time in whole seconds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if not seconds.is_integer():
            self.fail(f"{value!r} is not a whole number of seconds", param, ctx)
        return int(seconds)


class Statuses(click.ParamType):
    """One status or several, separated by commas."""

    name = "status"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return ",".join(parse_status(word).value for word in str(value).split(","))
        except ValueError:
            known = ", ".join(status.value for status in Status)
            self.fail(f"{value!r} is none of {known}", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        return [
            click.shell_completion.CompletionItem(status.value)
            for status in Status
            if status.value.startswith(incomplete)
        ]


class Typed(click.ParamType):
    """`name=value`; the value stays as it was typed."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, separator, text = str(value).partition("=")
        if not separator or not name:
            self.fail(f"{value!r} is not name=value", param, ctx)
        return name, text


class Pair(Typed):
    """`name=value`, where the value is JSON or else text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        name, text = super().convert(value, param, ctx)
        return name, read(text)


class Inputs(click.ParamType):
    """A JSON object (keywords) or array (positional arguments); `@file` and `-` (stdin) are read first."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            found = load(_text(value))
        except OSError as error:
            self.fail(f"{value[1:]}: {error.strerror}", param, ctx)
        except (ValueError, RecursionError) as error:
            self.fail(f"not JSON: {error}", param, ctx)
        if not isinstance(found, dict | list):
            self.fail("give an object for keywords, or an array for positional arguments", param, ctx)
        return found


def merge_inputs(
    args: tuple[str, ...], pairs: tuple[tuple[str, str], ...], given: Any, takes: Parameters | None
) -> tuple[list[Any], dict[str, Any]]:
    """Put arguments together from positional ones, `-i` and `--json-input`; `-i` wins over an object.

    `takes` tells what a function takes, where that is known: `5` is a text for a `str`, and else a number.
    """
    annotations = takes.annotations if takes else {}
    names = itertools.chain(takes.positional if takes else (), itertools.repeat(""))
    positional = [read(text, annotations.get(name, "")) for text, name in zip(args, names, strict=False)]
    if isinstance(given, list):
        if positional:
            raise click.UsageError("give positional arguments either as they are or by --json-input, not both")
        positional = given
    keywords = dict(given) if isinstance(given, dict) else {}
    return positional, keywords | {name: read(text, annotations.get(name, "")) for name, text in pairs}


def since_query(text: str) -> str:
    """Write "created since" as a query: `2h` ago, or from a date on."""
    moment = moment_of(text)
    # Not as a date: a cursor belongs to one query, and now is another time on the next page.
    return f"created:>={moment if moment.startswith('-') else quote(moment)}"


def moment_of(text: str) -> str:
    """Write a time as the library reads it: `2h` is that long ago."""
    text = text.strip()
    return f"-{text}" if _AGO.fullmatch(text) else text


def _text(value: str) -> str:
    if value == "-":
        return sys.stdin.read()
    return Path(value[1:]).read_text() if value.startswith("@") else value
