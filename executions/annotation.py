"""What a parameter's annotation says of values that come as JSON. What it does not know, it lets through."""

from __future__ import annotations

import inspect
import json
import re
from functools import lru_cache
from typing import Any, NoReturn

#: Characters of an annotation that are kept.
LENGTH = 80

#: The types of values that an annotation takes, for those that JSON can tell apart.
_TAKES: dict[str, tuple[type, ...]] = {
    "None": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "list": (list, tuple),
    "tuple": (list, tuple),
    "set": (list, tuple, set, frozenset),
    "dict": (dict,),
}

#: What is compared at all; a caller's own types are the caller's affair.
_PLAIN = (type(None), bool, int, float, str, list, tuple, dict)

_OPTIONAL = re.compile(r"(?:typing\.)?Optional\[(.*)\]")
_PART = re.compile(r"(\w+)(\[.*\])?")


def written(parameter: inspect.Parameter) -> str:
    """Give the annotation of a parameter as its author would write it."""
    given = parameter.annotation
    if given is parameter.empty:
        return ""
    text = given if isinstance(given, str) else inspect.formatannotation(given)
    # A default of None is taken too, whatever the annotation says.
    also = " | None" if parameter.default is None and "None" not in text and "Optional" not in text else ""
    return text + also if len(text + also) <= LENGTH else ""


def takes(annotation: str, value: Any) -> bool:
    """Whether a value may be given where this is the annotation."""
    known = _types(annotation)
    return known is None or isinstance(value, known) or not isinstance(value, _PLAIN)


def read(text: str, annotation: str = "") -> Any:
    """Read what somebody typed: as JSON where it is JSON that may be given here, else as the text itself."""
    try:
        value = load(text)
    except (ValueError, RecursionError):
        return text
    return value if takes(annotation, value) or not takes(annotation, text) else text


def load(text: str) -> Any:
    """Read JSON, without the words that Python's own reader takes beside it."""
    return json.loads(text, parse_constant=_no_constant)


@lru_cache(maxsize=1024)
def _types(annotation: str) -> tuple[type, ...] | None:
    """Give the types that an annotation takes; None where it says nothing that could be checked."""
    optional = _OPTIONAL.fullmatch(annotation.strip())
    parts = [*_alternatives(optional[1]), "None"] if optional else _alternatives(annotation)
    found = [_PART.fullmatch(part) for part in parts]
    known = [_TAKES.get(part[1]) if part else None for part in found]
    if None in known:
        return None
    return tuple(dict.fromkeys(one for types in known if types for one in types))


def _alternatives(annotation: str) -> list[str]:
    """Split at each `|` that stands in no brackets."""
    parts, depth = [""], 0
    for sign in annotation:
        depth += (sign == "[") - (sign == "]")
        if sign == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")
