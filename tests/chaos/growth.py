"""Does a process grow? Pure arithmetic over what was measured while it worked."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: The first part of the time is left out: what is loaded, cached or reserved once is there by then.
WARM_PART = 0.4

#: One look is noise (a collection is due, a message is large), and the looks beside it share its error. So they are
#: taken together in so many blocks, whose medians have errors of their own.
BLOCKS = 8
#: Student's t for 95 % on both sides and BLOCKS - 2 degrees of freedom.
_T = 2.447

#: A process takes memory in steps, an arena of Python's at the least: less than two of them is no slope.
STEP_KIB = 2 * 1024


@dataclass(frozen=True)
class Growth:
    """How one process grew in the later part of its time, by 1,000 executions of the whole fleet."""

    slope_kib: float
    #: The half width of its interval of 95 %.
    noise_kib: float
    thousands: float
    #: Medians of the first and the last block.
    first_kib: float
    last_kib: float

    @property
    def is_flat(self) -> bool:
        """Whether zero is within the noise, or what is certain of the growth is less than memory's least step."""
        return (self.slope_kib - self.noise_kib) * self.thousands < STEP_KIB

    def __str__(self) -> str:
        return (
            f"{self.first_kib / 1024:.1f} -> {self.last_kib / 1024:.1f} MiB, "
            f"{self.slope_kib:+.2f} ± {self.noise_kib:.2f} KiB for 1,000: {'flat' if self.is_flat else 'GROWS'}"
        )


def growth(executions: Sequence[int], kib: Sequence[float]) -> Growth | None:
    """Judge looks at one process; `None` where there are too few of them to tell."""
    start = int(len(kib) * WARM_PART)
    size = (len(kib) - start) // BLOCKS
    if size < 2:
        return None
    starts = range(len(kib) - BLOCKS * size, len(kib), size)
    xs = [statistics.fmean(executions[at : at + size]) / 1000 for at in starts]
    ys = [statistics.median(kib[at : at + size]) for at in starts]
    slope, intercept = statistics.linear_regression(xs, ys)
    off = sum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    spread = sum((x - statistics.fmean(xs)) ** 2 for x in xs)
    noise = _T * math.sqrt(off / (BLOCKS - 2) / spread)
    return Growth(slope, noise, xs[-1] - xs[0], ys[0], ys[-1])
