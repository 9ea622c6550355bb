"""A query's text, read from left to right: keywords, signs, values as they are written."""

from __future__ import annotations

import re

from executions.errors import InvalidQuery
from executions.query.tree import KEYWORDS

#: Bounds on what one query may ask, so that its cost is bounded too.
MAX_LENGTH = 4000
MAX_VALUES = 50
MAX_DEPTH = 20

_SPACE = re.compile(r"\s*")
_VALUE = re.compile(r"[^\s\",()]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Scanner:
    """A place in a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._values = 0

    @property
    def here(self) -> str:
        """The character that comes next; nothing at the end."""
        return self.text[self.at : self.at + 1]

    def ended(self) -> bool:
        """Pass blanks by; tell whether nothing follows."""
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.at >= len(self.text)

    def keyword(self, word: str) -> bool:
        """Pass a keyword by, where it stands here as a word of its own."""
        end = self.at + len(word)
        follows = self.text[end : end + 1]
        if self.text[self.at : end].upper() != word or not (not follows or follows.isspace() or follows in "()"):
            return False
        self.at = end
        return True

    def sign(self, sign: str) -> bool:
        """Pass a sign by, where it stands here."""
        if self.here != sign:
            return False
        self.at += 1
        return True

    def matched(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Pass by what a pattern matches here."""
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def quoted(self) -> str:
        """Read the text in quotes that begins here."""
        at = self.at
        found = self.matched(_QUOTED)
        if found is None:
            raise InvalidQuery("the quote is not closed", at)
        return _ESCAPE.sub(r"\1", found[1])

    def bare(self) -> str:
        """Read what stands here without quotes, up to a blank, a comma or a parenthesis."""
        found = self.matched(_VALUE)
        return found[0] if found else ""

    def value(self, name: str) -> tuple[int, str, bool]:
        """Read one value: where it is, its text, and whether it was quoted."""
        before = self.at
        if self.ended():
            raise InvalidQuery(f"a value must follow {name}", before)
        at = self.at
        if self.here == '"':
            return at, self.quoted(), True
        text = self.bare()
        if not text or (at > before and text.upper() in KEYWORDS):
            self.at = at
            raise InvalidQuery(f"a value must follow {name}; quote one that holds special characters", at)
        return at, text, False

    def count(self, at: int) -> None:
        """Count one more value that is asked for."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise InvalidQuery(f"a query may have at most {MAX_VALUES} values", at)
