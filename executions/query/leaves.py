"""Terms, ranges and words: the parts of a query that ask about one field."""

from __future__ import annotations

import re

from executions.errors import InvalidQuery
from executions.query import times
from executions.query.conditions import CONDITIONS
from executions.query.fields import BY_WORD, ELSEWHERE, FIELDS, HAS, Field, Kind, Match, find_field, suggest
from executions.query.scanner import Scanner
from executions.query.tree import ID, Bound, Has, Node, Not, Range, Term, Word, any_of
from executions.query.values import read_amount
from executions.states import ALIASES, Reason, Status, parse_status

_NAME = re.compile(r"[^\s:=!<>~\",()*\\-][^\s:=!<>~\",()*\\]*")
_OPERATOR = re.compile(r":\s*(?:!=|<=|>=|<|>|=|~)|!=|<=|>=|:|=|<|>|~")
_COLON = re.compile(r":\s*")
_COUNT = re.compile(r"[0-9]{1,9}")

_EQUAL = (":", "=", "!=")
_NAMED = (Kind.STATUS, Kind.REASON, Kind.CONDITION)


def read_leaf(text: Scanner) -> Node:
    """Read the term or the word that begins here."""
    at = text.at
    name = None if text.here == '"' else text.matched(_NAME)
    if name is None or not (_OPERATOR.match(text.text, text.at) or (text.here == '"' and name[0].endswith("."))):
        text.at = at
        return _word(text)
    if name[0].lower() == HAS:
        return _has(text, at)
    field, key = _field(text, name[0], at)
    label = f"{field.name}.{key}" if field.is_keyed else field.name
    text.count(at)
    operator = text.matched(_OPERATOR)
    if operator is None:
        if field.is_keyed:
            return Has(label, at)
        raise InvalidQuery(f"a value must follow {label}", text.at)
    return _asked(text, field, label, operator, at)


def _word(text: Scanner) -> Node:
    at, is_quoted = text.at, text.here == '"'
    found = text.quoted() if is_quoted else text.bare()
    text.count(at)
    if not found:
        raise InvalidQuery("a word, or a field and its value, should stand here", at)
    if is_quoted:
        return Word(found, at)
    if text.here == "," or _OPERATOR.match(found):
        raise InvalidQuery(f"{found[:40]!r} belongs to no field; write field:value, or quote what is meant as text", at)
    if find_field(found) or found.lower() == HAS:
        raise InvalidQuery(f"{found} is a field; write {found.lower()}:value, or quote it to look for the word", at)
    if "*" in found[:-1] or found == "*":
        raise InvalidQuery(f'* is understood at the end only; quote it ("{found}") if it is meant as it is', at)
    if ID.fullmatch(found):
        return Term("id", (found,), Match.IS, at)
    # A word is found inside of others anyway.
    return Word(found.removesuffix("*"), at)


def _has(text: Scanner, at: int) -> Node:
    if text.matched(_COLON) is None:
        raise InvalidQuery("write has: and the name of a field, such as has:worker", text.at)
    found: list[Node] = []
    while not found or text.sign(","):
        if text.ended():
            raise InvalidQuery("the name of a field must follow has:", text.at)
        here = text.at
        name = text.matched(_NAME)
        if name is None:
            raise InvalidQuery("the name of a field must follow has:", here)
        field, key = _field(text, name[0], here)
        if field.kind is Kind.CONDITION:
            raise InvalidQuery("is: stands for itself; has: goes with the other fields", here)
        text.count(here)
        found.append(Has(f"{field.name}.{key}" if field.is_keyed else field.name, at))
    return any_of(found)


def _field(text: Scanner, name: str, at: int) -> tuple[Field, str]:
    """Find the field of a name, and the key that it goes on with: `property.epochs` or `property:epochs`."""
    word, dot, key = name.partition(".")
    field = find_field(word)
    if field is None or not field.is_keyed:
        return _known(name, at), ""
    if not dot and text.matched(_COLON):
        found = None if text.here == '"' else text.matched(_NAME)
        key = found[0] if found else ""
    if not key and text.here == '"':
        key = text.quoted()
    if not key:
        raise InvalidQuery(f"{field.name} needs a key: {field.name}.epochs>10", at)
    return field, key


def _known(word: str, at: int) -> Field:
    field = find_field(word)
    if field is not None:
        return field
    if word.lower() in ELSEWHERE:
        raise InvalidQuery(f"{word.lower()}: {ELSEWHERE[word.lower()]}", at)
    hint = suggest(word, [*BY_WORD, HAS]) or ", or quote it to look for the text"
    raise InvalidQuery(f"unknown field {word[:40]!r}{hint}. Fields: {', '.join(FIELDS)}", at)


def _asked(text: Scanner, field: Field, label: str, operator: re.Match[str], at: int) -> Node:
    """Read what is asked about a field: the values or the ends behind an operator."""
    sign = operator[0].lstrip(": \t\n\r\f\v") or ":"
    if sign == "~" and field.kind not in (Kind.WORD, Kind.PROPERTY):
        raise InvalidQuery(f"~ looks inside of texts, and {label} is none", operator.start())
    if field.is_range or (field.kind is Kind.PROPERTY and sign not in (*_EQUAL, "~")):
        return _range(text, field, label, sign, (at, operator.start()))
    if sign not in (*_EQUAL, "~"):
        ordered = ", ".join(name for name, known in FIELDS.items() if known.is_range)
        raise InvalidQuery(f"{field.name} has no order, so {sign} says nothing; {ordered} do", operator.start())
    values = [_value(text, field, label)]
    if field.kind is Kind.PROPERTY and sign == ":" and not text.ended() and text.keyword("TO"):
        return _between(text, field, label, _as_bound(values[0], True), at)
    while not text.ended() and text.sign(","):
        text.count(text.at)
        values.append(_value(text, field, label))
    usual = field.match if sign == ":" else Match.HOLDS if sign == "~" else Match.IS
    node = _terms(label, values, usual, at)
    return Not(node) if sign == "!=" else node


#: A value with the place where it stands; without a text for a lone `*`, and whether it ends with one.
_Value = tuple[int, str | None, bool]


def _terms(label: str, values: list[_Value], usual: Match, at: int) -> Node:
    found: dict[Match, set[str]] = {}
    for _, value, is_prefix in values:
        if value is not None:
            found.setdefault(Match.BEGINS if is_prefix else usual, set()).add(value)
    terms: list[Node] = [Term(label, tuple(sorted(found[kind])), kind, at) for kind in Match if kind in found]
    return any_of([*terms, Has(label, at)] if any(value is None for _, value, _ in values) else terms)


def _value(text: Scanner, field: Field, label: str) -> _Value:
    at, value, is_quoted = text.value(label)
    if not value:
        raise InvalidQuery(f"the value of {label} is empty", at)
    is_prefix = text.sign("*") if is_quoted else value.endswith("*")
    if field.kind in _NAMED:
        return at, _named(field.kind, value, at), False
    if is_quoted:
        return at, value, is_prefix
    if "*" in value[:-1]:
        raise InvalidQuery(f'* is understood at the end only; quote it ("{value}") if it is meant as it is', at)
    return at, value.removesuffix("*") or None, is_prefix


def _named(kind: Kind, text: str, at: int) -> str:
    """Read a value of a field that has a fixed set of them."""
    word = text.lower()
    if kind is Kind.STATUS:
        try:
            return parse_status(text).value
        except ValueError:
            known = [status.value for status in Status]
            hint = suggest(text, [*known, *ALIASES])
            raise InvalidQuery(f"unknown status {text[:40]!r}{hint}. Statuses: {', '.join(known)}", at) from None
    known = list(CONDITIONS) if kind is Kind.CONDITION else [reason.value for reason in Reason if reason.value]
    if word in known:
        return word
    what = "condition" if kind is Kind.CONDITION else "reason"
    raise InvalidQuery(
        f"unknown {what} {text[:40]!r}{suggest(text, known)}. {what.capitalize()}s: {', '.join(known)}", at
    )


def _range(text: Scanner, field: Field, label: str, sign: str, places: tuple[int, int]) -> Node:
    at, operator_at = places
    found = text.value(label)
    if sign in (":", "=") and found[1:] == ("*", False):
        if text.ended() or not text.keyword("TO"):
            return Has(label, at)
        return _between(text, field, label, None, at)
    value = _bound(field, label, found, sign not in ("<", ">"))
    if sign in (">", ">="):
        return Range(label, value, None, at)
    if sign in ("<", "<="):
        return Range(label, None, value, at)
    if sign == ":" and not text.ended() and text.keyword("TO"):
        return _between(text, field, label, value, at)
    if field.kind is Kind.DURATION:
        raise InvalidQuery("a duration is compared: duration:>5s, duration:5s TO 1m", operator_at)
    # A time ago alone means "since then"; a day alone means that day.
    since = sign == ":" and field.kind is Kind.TIME and times.is_ago(value.text)
    node = Range(label, value, None if since else value, at)
    return Not(node) if sign == "!=" else node


def _between(text: Scanner, field: Field, label: str, low: Bound | None, at: int) -> Node:
    """Read the upper end of a range whose lower end was read."""
    found = text.value(label)
    high = None if found[1:] == ("*", False) else _bound(field, label, found, True)
    if low and high and (read_amount(low.text) is None) != (read_amount(high.text) is None) and field.is_keyed:
        raise InvalidQuery("a range has either two numbers or two texts as its ends", found[0])
    return Range(label, low, high, at) if low or high else Has(label, at)


def _as_bound(value: _Value, inclusive: bool) -> Bound | None:
    at, text, is_prefix = value
    if is_prefix and text is not None:
        raise InvalidQuery("* stands alone where a range is open: * TO 10", at)
    return None if text is None else Bound(text, inclusive)


def _bound(field: Field, label: str, found: tuple[int, str, bool], inclusive: bool) -> Bound:
    at, text, _ = found
    try:
        match field.kind:
            case Kind.TIME:
                times.read_moment(text)
            case Kind.DURATION:
                times.read_length(text)
            case Kind.NUMBER if not _COUNT.fullmatch(text):
                raise ValueError(f"{text!r} is not a whole number")
            case Kind.METRIC if read_amount(text) is None:
                raise ValueError(f"{text!r} is not a number such as 0.1, 1e-3 or 10MB")
    except ValueError as error:
        raise InvalidQuery(f"{label}: {error}", at) from None
    if not text:
        raise InvalidQuery(f"the value of {label} is empty", at)
    return Bound(text, inclusive)
