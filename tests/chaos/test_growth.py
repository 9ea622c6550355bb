"""How a soak tells a process that grows from one that does not."""

from __future__ import annotations

import random

import pytest

from tests.chaos.growth import growth

EXECUTIONS = range(0, 100_000, 200)


def noise(seed: int, kib: float) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(0, kib) for _ in EXECUTIONS]


@pytest.mark.parametrize("seed", range(10))
def test_a_process_that_stays_as_it_is_is_flat(seed: int) -> None:
    found = growth(EXECUTIONS, [70_000 + one for one in noise(seed, 500)])
    assert found is not None
    assert found.is_flat, found


@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_bytes_that_each_execution_leaves_are_found_below_the_noise(seed: int) -> None:
    kib = [70_000 + at * 100 / 1024 + one for at, one in zip(EXECUTIONS, noise(seed, 500), strict=True)]
    found = growth(EXECUTIONS, kib)
    assert found is not None
    assert not found.is_flat, found
    assert found.slope_kib == pytest.approx(100_000 / 1024, rel=0.2)


def test_what_a_process_loads_in_its_first_part_is_no_growth() -> None:
    kib = [70_000 + min(at, 35_000) for at in EXECUTIONS]
    found = growth(EXECUTIONS, kib)
    assert found is not None
    assert found.is_flat, found


def test_one_more_arena_is_no_growth() -> None:
    kib = [70_000 + (1024 if at > 80_000 else 0) for at in EXECUTIONS]
    found = growth(EXECUTIONS, kib)
    assert found is not None
    assert found.is_flat, found


def test_a_handful_of_looks_says_nothing() -> None:
    assert growth(range(10), [1.0] * 10) is None
