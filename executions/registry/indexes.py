"""The bitmaps of one shard, read in bounded pieces and combined here.

Each term (`status:failed`, `queue:gpu`, ...) has a bitmap over the shard's numbers, cut into chunks of 512.
A query is big-integer algebra over the chunks of its terms. All terms of some chunks are read by one HMGET,
so that an execution that moves from one status to another is seen in exactly one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executions.query.plan import All, AnyOf, Bit, Bits, Without
from executions.registry.keys import ShardKeys
from executions.registry.rounds import Steps, batches, hmget

#: Numbers in a chunk, and its bytes; `lua/_prelude.lua` has the same.
CHUNK = 512
CHUNK_BYTES = CHUNK // 8

#: The term of all numbers that exist.
EXISTING = "*"

#: Most bitmap chunks that one command asks for: about a millisecond of the server's time.
FIELDS_AT_ONCE = 4096

_ZERO = bytes(CHUNK_BYTES)
_FULL = b"\xff" * CHUNK_BYTES
_FEW_BITS = 16
_BITS = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


@dataclass(frozen=True)
class Loaded:
    """Numbers that are known here, as chunks: used in an expression like a bitmap."""

    chunks: Mapping[int, bytes]


@dataclass
class Budget:
    """What may still be read for one page, counted in bitmap chunks."""

    left: int

    def spend(self, amount: int) -> None:
        self.left -= amount

    def affords(self, amount: int) -> bool:
        """Spend an amount that could be done without, if the better half of what is left stays for the rest."""
        if amount > self.left // 2:
            return False
        self.spend(amount)
        return True

    @property
    def is_spent(self) -> bool:
        return self.left <= 0


def chunks_of(numbers: Iterable[int]) -> dict[int, bytes]:
    """Give numbers as chunks of a bitmap."""
    found: dict[int, bytearray] = {}
    for number in numbers:
        chunk = found.setdefault(number // CHUNK, bytearray(CHUNK_BYTES))
        chunk[number % CHUNK >> 3] |= 1 << (number & 7)
    return {at: bytes(chunk) for at, chunk in found.items()}


def chunks_below(number: int, first: int) -> dict[int, bytes]:
    """Give all numbers below one as chunks of a bitmap, from that of the first that matters on."""
    chunk = number // CHUNK
    return dict.fromkeys(range(first // CHUNK, chunk), _FULL) | chunks_of(range(chunk * CHUNK, number))


def numbers_in(chunk: int, bitmap: bytes) -> list[int]:
    """Give the numbers of a chunk, smallest first."""
    base = chunk * CHUNK
    value = int.from_bytes(bitmap, "little")
    if value.bit_count() < _FEW_BITS:
        return _sparse(base, value)
    return [base + (at << 3) + bit for at, byte in enumerate(bitmap) if byte for bit in _BITS[byte]]


def _sparse(base: int, value: int) -> list[int]:
    """Give the numbers of a chunk bit by bit: several times as quick where there are few."""
    found = []
    while value:
        lowest = value & -value
        found.append(base + lowest.bit_length() - 1)
        value ^= lowest
    return found


def has_bit(bitmap: bytes | None, number: int) -> bool:
    """Tell whether a number is in its chunk, which may be short or missing."""
    at = number % CHUNK
    return bool(bitmap and len(bitmap) > at >> 3 and bitmap[at >> 3] >> (at & 7) & 1)


def popcount(bitmap: bytes) -> int:
    return int.from_bytes(bitmap, "little").bit_count()


class Matches:
    """The numbers of one shard that an expression selects; its chunks are read when first asked for."""

    def __init__(
        self,
        keys: ShardKeys,
        bits: Bits | None,
        known: Mapping[Bits, Loaded],
        extent: tuple[int, int],
        budget: Budget,
    ) -> None:
        self._keys = keys
        self._bits = Bit(EXISTING) if bits is None else bits
        self._known = known
        self._low, self._high = extent
        self._budget = budget
        self._terms = sorted(_terms(self._bits))
        #: Chunks that were read, with the matches in them; nothing where there are none.
        self.chunks: dict[int, bytes] = {}

    @property
    def first(self) -> int:
        """The first chunk in which there may be a match."""
        return self._low // CHUNK

    @property
    def last(self) -> int:
        """The last chunk in which there may be a match."""
        return self._high // CHUNK

    @property
    def cost(self) -> int:
        """How many bitmap chunks the whole takes."""
        return max(0, self.last - self.first + 1) * max(1, len(self._terms))

    @property
    def window(self) -> int:
        """How many chunks one command can read."""
        return max(1, FIELDS_AT_ONCE // max(1, len(self._terms)))

    def load(self, chunks: Iterable[int]) -> Steps[None]:
        """Read these chunks, unless they have been read."""
        missing = [chunk for chunk in chunks if chunk not in self.chunks and self.first <= chunk <= self.last]
        for piece in batches(missing, self.window):
            replies: list[Any] = []
            fields = [f"{term}/{chunk}" for term in self._terms for chunk in piece]
            if fields:
                (replies,) = yield [hmget(self._keys.index, fields)]
            self._budget.spend(max(len(fields), len(piece)))
            self._combine(piece, replies)

    def load_all(self) -> Steps[None]:
        """Read every chunk."""
        yield from self.load(range(self.first, self.last + 1))

    def among(self, numbers: Iterable[int]) -> list[int]:
        """Give those of the numbers that match; their chunks must have been read."""
        chunks = self.chunks
        return [n for n in numbers if (bits := chunks.get(n // CHUNK)) and bits[n % CHUNK >> 3] >> (n & 7) & 1]

    def numbers(self) -> list[int]:
        """Give the matches in the chunks that were read, smallest first."""
        return [n for chunk in sorted(self.chunks) for n in numbers_in(chunk, self.chunks[chunk])]

    def count(self) -> int:
        """Count the matches in the chunks that were read."""
        return int.from_bytes(b"".join(self.chunks.values()), "little").bit_count()

    def keep(self, chunks: Mapping[int, bytes]) -> None:
        """Keep the matches that are also in these chunks."""
        for at, bitmap in self.chunks.items():
            self.chunks[at] = _combined(bitmap, chunks.get(at, b""), int.__and__)

    def drop(self, numbers: Iterable[int]) -> None:
        """Take numbers out."""
        for at, bitmap in chunks_of(numbers).items():
            self.chunks[at] = _combined(self.chunks.get(at, b""), bitmap, lambda a, b: a & ~b)

    def _combine(self, piece: Sequence[int], replies: list[Any]) -> None:
        size = len(piece)
        words: dict[Bits, int] = {}
        for at, term in enumerate(self._terms):
            words[Bit(term)] = _joined(replies[at * size : (at + 1) * size])
        for leaf, loaded in self._known.items():
            words[leaf] = _joined([loaded.chunks.get(chunk) for chunk in piece])
        whole = _evaluate(self._bits, words).to_bytes(size * CHUNK_BYTES, "little")
        for at, chunk in enumerate(piece):
            bitmap = whole[at * CHUNK_BYTES : (at + 1) * CHUNK_BYTES]
            self.chunks[chunk] = b"" if bitmap == _ZERO else self._cut(chunk, bitmap)

    def _cut(self, chunk: int, bitmap: bytes) -> bytes:
        """Take off what lies outside of the extent."""
        if self.first < chunk < self.last:
            return bitmap
        value = int.from_bytes(bitmap, "little")
        if chunk == self.first:
            value = value >> self._low % CHUNK << self._low % CHUNK
        if chunk == self.last:
            value &= (1 << self._high % CHUNK + 1) - 1
        return value.to_bytes(CHUNK_BYTES, "little") if value else b""


def _joined(chunks: Sequence[bytes | None]) -> int:
    """Make one number of chunks that may be short or missing."""
    return int.from_bytes(
        b"".join(_ZERO if not chunk else chunk.ljust(CHUNK_BYTES, b"\0") for chunk in chunks), "little"
    )


def _combined(left: bytes, right: bytes, operation: Callable[[int, int], int]) -> bytes:
    value = operation(int.from_bytes(left, "little"), int.from_bytes(right, "little"))
    return value.to_bytes(CHUNK_BYTES, "little") if value else b""


def _terms(bits: Bits) -> set[str]:
    """Give the terms whose bitmaps an expression needs."""
    match bits:
        case Bit():
            return {bits.term}
        case All() | AnyOf():
            return set().union(*(_terms(item) for item in bits.items))
        case Without():
            return {EXISTING} | _terms(bits.item)
        case _:
            return set()


def _evaluate(bits: Bits, words: Mapping[Bits, int]) -> int:
    match bits:
        case All():
            value = _evaluate(bits.items[0], words)
            for item in bits.items[1:]:
                value &= _evaluate(item, words)
            return value
        case AnyOf():
            value = 0
            for item in bits.items:
                value |= _evaluate(item, words)
            return value
        case Without():
            return words[Bit(EXISTING)] & ~_evaluate(bits.item, words)
        case _:
            return words[bits]
