"""Values of properties and metrics: numbers and texts, and how they compare.

What is written like a number is one, in a record and in a query: 0.001, "0.001" and 1e-3 are equal. A text of more
than fifteen characters stays a text, as it may be an id that a number could not hold exactly.
`lua/_prelude.lua` reads values in the same way.
"""

from __future__ import annotations

import json
import re
from typing import TypeAlias

from executions.query import times
from executions.query.tree import Bound, Range

_NUMBER = re.compile(r"-?[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([kmgt]i?b|b)", re.IGNORECASE)
#: Longest text that is read as a number.
NUMBER_MOST = 15

#: Bytes of a name, and of a text, that an index of values holds; what is longer is looked up on the records.
NAME_MOST = 100
VALUE_MOST = 64

Value: TypeAlias = float | str


def read_value(raw: str) -> Value:
    """Read the JSON of a property; what is neither number nor text is the text of its JSON."""
    if not raw.startswith('"'):
        return float(raw) if _NUMBER.fullmatch(raw) else raw
    text = str(json.loads(raw))
    return float(text) if len(text) <= NUMBER_MOST and _NUMBER.fullmatch(text) else text


def read_number(text: str) -> float | None:
    """Read a number as a query names it; `None` for any other text."""
    return float(text) if _NUMBER.fullmatch(text) else None


def read_amount(text: str) -> float | None:
    """Read a number that may have a unit, as bounds have: `10MB` in bytes, `5m` in seconds."""
    number = read_number(text)
    if number is not None:
        return number
    size = _SIZE.fullmatch(text)
    if size:
        unit = size[2].lower()
        step = 1024.0 if "i" in unit else 1000.0
        return float(size[1]) * step ** ("bkmgt".index(unit[0]))
    try:
        return times.read_length(text) / times.SECOND_US
    except ValueError:
        return None


def end_of(bound: Bound | None) -> Value | None:
    """Give one end of a range as a value; `None` where it is open."""
    if bound is None:
        return None
    amount = read_amount(bound.text)
    return bound.text if amount is None else amount


def is_within(value: Value, item: Range) -> bool:
    """Tell whether a value lies in a range; numbers only lie between numbers, and texts between texts."""
    low, high = end_of(item.low), end_of(item.high)
    return (low is None or _is_up(low, value, item.low)) and (high is None or _is_up(value, high, item.high))


def _is_up(low: Value, high: Value, bound: Bound | None) -> bool:
    # Texts in the order of their code points, which is that of their bytes too.
    if isinstance(low, str) and isinstance(high, str):
        is_less = low < high
    elif isinstance(low, str) or isinstance(high, str):
        return False
    else:
        is_less = low < high
    return is_less or (low == high and bound is not None and bound.inclusive)


def meant_by(word: str) -> tuple[Value, ...]:
    """Give the values that a word of a query may stand for; a long number may be a text as well."""
    number = read_number(word)
    if number is None:
        return (word,)
    return (number,) if len(word) <= NUMBER_MOST else (number, word)


def is_whole(value: Value | None) -> bool:
    """Tell whether an index of values holds all of a value."""
    return not isinstance(value, str) or len(value.encode()) < VALUE_MOST


def is_same(value: Value, word: str) -> bool:
    """Tell whether a value is the one that a query names."""
    return value in meant_by(word)
