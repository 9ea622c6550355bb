"""The version of the library, as it is released and as workers tell it to the registry."""

from __future__ import annotations

VERSION = "0.1.0"
