"""One execution as a query sees it: which parts of its record tell a field, and what they say."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from executions.query.fields import split_name
from executions.query.meaning import WORDS
from executions.query.plan import Span
from executions.query.tree import Range
from executions.query.values import Value, is_same, is_within, read_value
from executions.registry.records import decode_error

#: Where a record keeps what a query may ask for. The id is known without it.
_CODES: dict[str, tuple[str, ...]] = {
    "status": ("st",),
    "reason": ("rs",),
    "function": ("fn",),
    "service": ("sv",),
    "queue": ("qu",),
    "worker": ("wk",),
    "pipeline": ("pl",),
    "stage": ("sg",),
    "tag": ("tg",),
    "bulk": ("bk",),
    "parent": ("pa",),
    "root": ("ro",),
    "name": ("nm",),
    "principal": ("pr",),
    "commit": ("gc",),
    "branch": ("gb",),
    "reference": ("src", "ref"),
    "message": ("msg",),
    "error": ("er",),
    "fingerprint": ("er",),
    "created": ("cr",),
    "queued": ("qd", "cr"),
    "started": ("sd",),
    "finished": ("fi",),
    "deadline": ("dl",),
    "duration": ("sd", "fi"),
    "attempt": ("at",),
    "note": ("nt",),
}

#: Where a record keeps the names of its properties, and what stands in front of each.
NAMES = "vx"
PROPERTY = "p."

#: What words are looked for in, beside the id, tags, error and properties.
_SPOKEN = ("nm", "fn", "sv", "qu", "wk", "pl", "sg", "gb", "pr", "msg")

Raw = Mapping[str, str]


def codes_of(fields: Iterable[str]) -> tuple[str, ...]:
    """Give the parts of a record that tell these fields, and its number."""
    found: set[str] = set()
    for name in fields:
        if name == WORDS:
            found |= {NAMES, "tg", "er", *_SPOKEN}
        elif "." in name:
            found.add(_keyed(name))
        else:
            found.update(_CODES.get(name, ()))
    return ("no", *sorted(found))


def codes_of_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Give the parts of a record that tell its properties and metrics among some columns."""
    return tuple(_keyed(name) for name in columns if name.startswith(("property.", "metric.")))


def _keyed(name: str) -> str:
    word, _, key = name.partition(".")
    return f"{word[0]}.{key}"


@dataclass(frozen=True)
class Subject:
    """Implements `query.meaning.Subject` over what was read of a record."""

    id: str
    raw: Raw
    #: The ranges that are looked up here; every other one holds, as a sorted set has answered it.
    inner: Mapping[Range, Span]

    def values(self, field: str) -> Collection[str]:
        """Give its values of a field, as texts."""
        raw = self.raw
        match field:
            case "id":
                return (self.id,)
            case "root":
                return (self.id, raw.get("ro", ""))
            case "tag":
                return json.loads(raw["tg"]) if raw.get("tg") else ()
            case "bulk":
                return raw.get("bk", "").split()
            case "note":
                return [text for *_, text in json.loads(raw.get("nt", "[]"))]
            case "error" | "fingerprint":
                return self._error(field)
            case "duration":
                return (raw["fi"],) if "fi" in raw and "sd" in raw else ()
        if "." in field:
            text = raw.get(_keyed(field))
            return () if text is None else (_text(text),)
        return next(((raw[code],) for code in _CODES[field] if raw.get(code)), ())

    def is_one_of(self, field: str, values: tuple[str, ...]) -> bool:
        """Tell whether one of its values of a field is one of these."""
        if "." in field:
            value = self._value(field)
            return value is not None and any(is_same(value, word) for word in values)
        return any(value in values for value in self.values(field))

    def within(self, item: Range) -> bool:
        """Tell whether a range holds."""
        if split_name(item.field)[0].is_keyed:
            value = self._value(item.field)
            return value is not None and is_within(value, item)
        span = self.inner.get(item)
        if span is None:
            return True
        number = self._number(item.field)
        return number is not None and span.holds(number)

    def texts(self) -> Collection[str]:
        """Give the texts that words are looked for in."""
        raw = self.raw
        found = [self.id, *(raw[code] for code in _SPOKEN if code in raw), *self.values("tag"), *self._error("error")]
        if NAMES in raw:
            for code, text in raw.items():
                if code.startswith(PROPERTY):
                    found += (code.removeprefix(PROPERTY), _text(text))
        return found

    def _error(self, field: str) -> Collection[str]:
        error = decode_error(self.raw.get("er"))
        if error is None:
            return ()
        if field == "error":
            return error.type, error.message, f"{error.type}: {error.message}"
        return (error.fingerprint,) if error.fingerprint else ()

    def _value(self, field: str) -> Value | None:
        text = self.raw.get(_keyed(field))
        return None if text is None else read_value(text)

    def _number(self, field: str) -> int | None:
        if field == "duration":
            return int(self.raw["fi"]) - int(self.raw["sd"]) if "fi" in self.raw and "sd" in self.raw else None
        text = next((self.raw[code] for code in _CODES[field] if self.raw.get(code)), None)
        return None if text is None else int(text)


def _text(raw: str) -> str:
    return str(json.loads(raw)) if raw.startswith('"') else raw
