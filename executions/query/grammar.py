"""The search language: from text to tree.

    query := [ item { [AND] item } ]
    item  := { NOT | '-' } term
    term  := field op value { ',' value }  |  field ':' low TO high
    op    := ':' | '=' | '!=' | '<' | '<=' | '>' | '>='        ':' may stand before a comparison
    value := word | "quoted"                                   \\" and \\\\ inside quotes

Names of fields and AND, NOT, TO are read in any case. Items side by side must all hold. A comma means "any
of these": `status:failed,terminated`; naming a field twice means both, as in `tag:a tag:b`. A range may be
open at one end: `created:* TO 2026-01-31`. This is the simple form of the language: OR, parentheses, words
without a field, `*` inside values, `~` and the fields in `fields.LATER` are refused by name.
"""

from __future__ import annotations

import re

from executions.errors import InvalidQuery
from executions.query import times
from executions.query.fields import BY_WORD, FIELDS, LATER, Field, Kind, find_field, suggest
from executions.query.tree import KEYWORDS, And, Bound, Node, Not, Query, Range, Term
from executions.states import ALIASES, Reason, Status, parse_status

#: Bounds on what one query may ask, so that its cost is bounded too.
MAX_LENGTH = 4000
MAX_VALUES = 50

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[^\s:=!<>~\",()*\\-][^\s:=!<>~\",()*\\]*")
_OPERATOR = re.compile(r":\s*(?:!=|<=|>=|<|>|=|~)|!=|<=|>=|:|=|<|>|~")
_VALUE = re.compile(r"[^\s\",()]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

_LATER = "comes with the full search language; for now write field:value AND field:value"


def parse(text: str | None) -> Query:
    """Read a query; raises `InvalidQuery`, which says where and what would be understood."""
    text = text or ""
    if len(text) > MAX_LENGTH:
        raise InvalidQuery(f"the query is longer than {MAX_LENGTH} characters", MAX_LENGTH)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidQuery("the query holds a character that cannot be written as UTF-8", error.start) from None
    return Query(And(tuple(_Reader(text).items())))


class _Reader:
    """Reads a query from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._values = 0

    def items(self) -> list[Node]:
        found: list[Node] = []
        while not self._ended():
            at = self._at
            if found and self._keyword("AND") and self._ended():
                raise InvalidQuery("something must follow AND", at)
            found.append(self._item())
        return found

    def _item(self) -> Node:
        negated, start = False, self._at
        while self._keyword("NOT") or self._sign():
            negated = not negated
            if self._ended():
                raise InvalidQuery("something must follow NOT", start)
        self._refuse_later()
        node = self._term()
        if isinstance(node, Not) or not negated:
            return node if not (negated and isinstance(node, Not)) else node.item
        if isinstance(node, Range):
            raise InvalidQuery(f"NOT before a range {_LATER}, and turn the comparison round", start)
        return Not(node)

    def _refuse_later(self) -> None:
        at = self._at
        if self._text[at] in "()":
            raise InvalidQuery(f"a parenthesis {_LATER}", at)
        for word in ("OR", "AND", "TO"):
            if self._keyword(word):
                what = f"OR {_LATER}, or a comma for several values" if word == "OR" else f"{word} is out of place"
                raise InvalidQuery(what, at)

    def _term(self) -> Node:
        at = self._at
        name = _NAME.match(self._text, at)
        operator = _OPERATOR.match(self._text, name.end()) if name else None
        if name is None or operator is None:
            raise self._no_field(at)
        field = _known(name[0], at)
        self._at = operator.end()
        sign = operator[0].lstrip(": \t\n\r\f\v") or ":"
        if sign == "~":
            raise InvalidQuery(f"~ {_LATER}", operator.start())
        if field.is_range:
            return self._range(field, sign, at, operator.start())
        if sign not in (":", "=", "!="):
            ordered = ", ".join(name for name, known in FIELDS.items() if known.is_range)
            raise InvalidQuery(f"{field.name} has no order, so {sign} says nothing; {ordered} do", operator.start())
        values = [self._value(field)]
        while not self._ended() and self._text[self._at] == ",":
            self._at += 1
            values.append(self._value(field))
        term = Term(field.name, tuple(sorted(set(values))), at)
        return Not(term) if sign == "!=" else term

    def _range(self, field: Field, sign: str, at: int, operator_at: int) -> Range:
        if sign == "!=":
            raise InvalidQuery(f"!= {_LATER}, and turn it into a comparison", operator_at)
        value = self._bound(field, sign in (":", "=", ">=", "<="), is_open=sign == ":")
        if sign in (">", ">="):
            return Range(field.name, value, None, at)
        if sign in ("<", "<="):
            return Range(field.name, None, value, at)
        if sign == ":" and not self._ended() and self._keyword("TO"):
            return Range(field.name, value, self._bound(field, True, is_open=True), at)
        if value is None:
            raise InvalidQuery(f"write {field.name}:* TO {field.name}, or leave it out", at)
        if field.kind is Kind.DURATION:
            raise InvalidQuery("a duration is compared: duration:>5s, duration:5s TO 1m", operator_at)
        # A time ago alone means "since then"; a day alone means that day.
        return Range(field.name, value, None if times.is_ago(value.text) else value, at)

    def _bound(self, field: Field, inclusive: bool, *, is_open: bool) -> Bound | None:
        at, text, quoted = self._word(field)
        if is_open and text == "*" and not quoted:
            return None
        try:
            times.read_length(text) if field.kind is Kind.DURATION else times.read_moment(text)
        except ValueError as error:
            raise InvalidQuery(f"{field.name}: {error}", at) from None
        return Bound(text, inclusive)

    def _value(self, field: Field) -> str:
        at, text, quoted = self._word(field)
        self._values += 1
        if self._values > MAX_VALUES:
            raise InvalidQuery(f"a query may have at most {MAX_VALUES} values", at)
        if "*" in text and not quoted:
            raise InvalidQuery(f'* inside a value {_LATER}; quote it ("{text}") if it is meant as it is', at)
        if not text:
            raise InvalidQuery(f"the value of {field.name} is empty", at)
        if field.kind is Kind.STATUS:
            return _status(text, at)
        return _reason(text, at) if field.kind is Kind.REASON else text

    def _word(self, field: Field) -> tuple[int, str, bool]:
        """Read one value as it is written: where it is, its text, and whether it was quoted."""
        before = self._at
        if self._ended():
            raise InvalidQuery(f"a value must follow {field.name}", before)
        at = self._at
        if self._text[at] == '"':
            quoted = _QUOTED.match(self._text, at)
            if quoted is None:
                raise InvalidQuery("the quote is not closed", at)
            self._at = quoted.end()
            return at, _ESCAPE.sub(r"\1", quoted[1]), True
        word = _VALUE.match(self._text, at)
        if word is None or (at > before and word[0].upper() in KEYWORDS):
            raise InvalidQuery(f"a value must follow {field.name}; quote one that holds special characters", at)
        self._at = word.end()
        return at, word[0], False

    def _ended(self) -> bool:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._at >= len(self._text)

    def _keyword(self, word: str) -> bool:
        end = self._at + len(word)
        if self._text[self._at : end].upper() != word or not (end == len(self._text) or self._text[end].isspace()):
            return False
        self._at = end
        return True

    def _sign(self) -> bool:
        if self._text[self._at] != "-":
            return False
        self._at += 1
        return True

    def _no_field(self, at: int) -> InvalidQuery:
        word = _VALUE.match(self._text, at)
        text = word[0] if word else self._text[at]
        if find_field(text):
            return InvalidQuery(f"{text} is a field; write {text.lower()}:value", at)
        return InvalidQuery(f"searching for a word without a field ({text[:40]!r}) {_LATER}, such as name:x", at)


def _known(word: str, at: int) -> Field:
    field = find_field(word)
    if field is not None:
        return field
    if word.lower().split(".")[0] in LATER:
        raise InvalidQuery(f"the field {word.lower()!r} {_LATER}. Fields: {', '.join(FIELDS)}", at)
    raise InvalidQuery(f"unknown field {word!r}{suggest(word, list(BY_WORD))}. Fields: {', '.join(FIELDS)}", at)


def _status(text: str, at: int) -> str:
    try:
        return parse_status(text).value
    except ValueError:
        known = [status.value for status in Status]
        hint = suggest(text, [*known, *ALIASES])
        raise InvalidQuery(f"unknown status {text!r}{hint}. Statuses: {', '.join(known)}", at) from None


def _reason(text: str, at: int) -> str:
    known = [reason.value for reason in Reason if reason.value]
    if text.lower() in known:
        return text.lower()
    raise InvalidQuery(f"unknown reason {text!r}{suggest(text, known)}. Reasons: {', '.join(known)}", at)
