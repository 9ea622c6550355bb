"""What may be written next in a search box: fields, operators, values.

Pure: values that only the registry knows come from a function. A suggestion names the part of the text that it takes
the place of, so that whoever shows it need not know the language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from executions.query.conditions import CONDITIONS
from executions.query.fields import BY_WORD, FIELDS, HAS, Field, Kind, find_field
from executions.query.tree import quote, write_name
from executions.states import Reason, Status

#: How many suggestions are made, and how much of a text is looked at.
SUGGESTED = 20
_LONGEST = 4000

_ASKED = re.compile(r'-?([^\s:=!<>~",()*-][^\s:=!<>~",()*]*)(:\s*[<>=!~]+|[!<>=~:]+)\s*(.*)', re.DOTALL)
_MOMENTS = ("today", "yesterday", "-1h", "-24h", "-7d")
_LENGTHS = (">1s", ">10s", ">1m", ">10m", ">1h")

#: Gives the values that executions have in a counted field, or the keys of properties or names of metrics.
Values = Callable[[str], Iterable[str]]


@dataclass(frozen=True)
class Suggestion:
    """A text that may stand in place of `query[start:stop]`."""

    text: str
    start: int
    stop: int
    #: field, value or word.
    kind: str


def suggestions(query: str, position: int, values: Values) -> list[Suggestion]:
    """Give what may be written at a place of a query, the likeliest first."""
    stop = max(0, min(position, len(query), _LONGEST))
    start = _begin(query[:stop])
    head = query[start:stop]
    asked = _ASKED.fullmatch(head)
    field = find_field(asked[1].partition(".")[0]) if asked else None
    if asked and (field or asked[1].lower() == HAS):
        return _values(asked, field, (start, stop), values)
    start += head.startswith("-")
    typed = query[start:stop]
    keyed = find_field(typed.partition(".")[0])
    if "." in typed and keyed and keyed.is_keyed:
        return _keys(keyed, typed.partition(".")[2], (start, stop), values)
    found = _chosen(typed, [*(f"{name}{'.' if one.is_keyed else ':'}" for name, one in FIELDS.items()), f"{HAS}:"])
    fields = [Suggestion(text, start, stop, "field") for text in found]
    # An alias leads to its field.
    fields += [
        Suggestion(f"{one.name}:", start, stop, "field")
        for word, one in BY_WORD.items()
        if typed and word not in FIELDS and word.startswith(typed.lower()) and not one.is_keyed
    ]
    if not typed and query[:start].strip():
        fields = [Suggestion(word, start, stop, "word") for word in ("AND", "OR", "NOT")] + fields
    return list(dict.fromkeys(fields))[:SUGGESTED]


def _values(asked: re.Match[str], field: Field | None, place: tuple[int, int], values: Values) -> list[Suggestion]:
    typed, stop = asked[3], place[1]
    if field and field.is_keyed:
        if "." in asked[1] or asked[2] != ":":
            return []
        return _keys(field, typed, (place[0] + asked.start(1), stop), values)
    typed = typed.rpartition(",")[2].lstrip()
    known: Iterable[str]
    match field.kind if field else None:
        case None:
            known = [name for name in FIELDS if name != "is"]
        case Kind.STATUS:
            known = [status.value for status in Status]
        case Kind.REASON:
            known = [reason.value for reason in Reason if reason.value]
        case Kind.CONDITION:
            known = CONDITIONS
        case Kind.TIME:
            known = _MOMENTS
        case Kind.DURATION:
            known = _LENGTHS if asked[2] == ":" else [text[1:] for text in _LENGTHS]
        case _:
            known = values(field.name) if field and field.counted else ()
    found = _chosen(typed.removeprefix('"'), known)
    is_written = field is not None and field.kind is Kind.WORD
    return [
        Suggestion(quote(text) if is_written else text, stop - len(typed), stop, "value") for text in found
    ][:SUGGESTED]  # fmt: skip


def _keys(field: Field, typed: str, place: tuple[int, int], values: Values) -> list[Suggestion]:
    found = _chosen(typed.removeprefix('"'), values(field.name))
    return [Suggestion(write_name(f"{field.name}.{key}"), *place, "field") for key in found][:SUGGESTED]


def _chosen(typed: str, known: Iterable[str]) -> list[str]:
    """Give what begins as typed, then what holds it."""
    low = typed.lower()
    words = list(known)
    begins = [word for word in words if word.lower().startswith(low)]
    return begins + [word for word in words if low in word.lower() and word not in begins]


def _begin(text: str) -> int:
    """Give where the last part of a text begins: behind a blank or a parenthesis that is in no quotes."""
    begin, is_quoted, skip = 0, False, False
    for at, char in enumerate(text):
        if skip:
            skip = False
        elif is_quoted and char == "\\":
            skip = True
        elif char == '"':
            is_quoted = not is_quoted
        elif not is_quoted and (char.isspace() or char in "()"):
            begin = at + 1
    return begin
