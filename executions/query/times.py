"""Points in time and lengths of time as people write them in a query.

A day, a month or a year stands for all of it; a time of day is an instant. So `created:>2026-01-01` begins
when that day is over, `created:2026-01-01 TO 2026-01-31` includes the whole of the last day, and
`started:>2026-01-01T10:00` begins at ten. Times without a zone are UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

SECOND_US = 1_000_000

_UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": SECOND_US,
    "m": 60 * SECOND_US,
    "min": 60 * SECOND_US,
    "h": 3600 * SECOND_US,
    "d": 86_400 * SECOND_US,
    "w": 7 * 86_400 * SECOND_US,
}
_UNIT = "us|ms|min|s|m|h|d|w"

_PART = re.compile(rf"([0-9]{{1,12}}(?:\.[0-9]{{1,9}})?)({_UNIT})", re.IGNORECASE)
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_AGO = re.compile(rf"-([0-9]{{1,6}})({_UNIT})", re.IGNORECASE)
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]"
    r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)

#: Days that are named by their distance from today.
_DAYS = {"today": 0, "yesterday": -1}

MOMENTS = "a date (2026-01-31), a time (2026-01-31T10:00), 'now', 'today', 'yesterday', or a time ago (-24h)"
LENGTHS = "a length of time such as 5s, 250ms, 1h30m"


def is_ago(text: str) -> bool:
    """Whether this is a time ago, as `-24h`."""
    return _AGO.fullmatch(text) is not None


def is_relative(text: str) -> bool:
    """Whether this means another time tomorrow."""
    return is_ago(text) or text.lower() == "now" or text.lower() in _DAYS


def read_moment(text: str, now_us: int = 0) -> tuple[int, int]:
    """Give the first microsecond of what the text stands for, and the first one after it.

    Raises `ValueError` for a text that is no time.
    """
    word = text.lower()
    if word == "now":
        return now_us, now_us + 1
    if word in _DAYS:
        start = (now_us // _UNITS_US["d"] + _DAYS[word]) * _UNITS_US["d"]
        return start, start + _UNITS_US["d"]
    ago = _AGO.fullmatch(text)
    if ago:
        at = now_us - int(ago[1]) * _UNITS_US[ago[2].lower()]
        return at, at + 1
    try:
        return _read_date(text) or _read_instant(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not {MOMENTS}") from None


def read_length(text: str) -> int:
    """Give a length of time in microseconds; raises `ValueError` for a text that is none."""
    if _SECONDS.fullmatch(text):
        return int(Decimal(text) * SECOND_US)
    total, at = 0, 0
    while match := _PART.match(text, at):
        total += int(Decimal(match[1]) * _UNITS_US[match[2].lower()])
        at = match.end()
    if not text or at < len(text):
        raise ValueError(f"{text!r} is not {LENGTHS}")
    return total


def _read_date(text: str) -> tuple[int, int] | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(part) if part else None for part in match.groups())
    start = datetime(year or 0, month or 1, day or 1, tzinfo=UTC)
    if day is not None:
        end = start + _DAY
    elif month is not None:
        end = (start + 31 * _DAY).replace(day=1)
    else:
        end = start.replace(year=start.year + 1)
    return _us(start), _us(end)


def _read_instant(text: str) -> tuple[int, int]:
    if not _INSTANT.fullmatch(text):
        raise ValueError(text)
    moment = datetime.fromisoformat(text.upper())
    at = _us(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return at, at + 1


def _us(moment: datetime) -> int:
    # Whole numbers all the way: seconds as a float would lose the last microsecond.
    return (moment - _EPOCH) // timedelta(microseconds=1)
