"""Documents of executions: many of them take no more memory than a few."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest

from executions.cli.documents import PIECE, export
from executions.execution import Execution
from executions.states import Reason, Status

ROWS = 100_000


@pytest.mark.feature("C48", "C49", "C51")
@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_an_export_of_many_holds_a_piece_of_them_at_a_time(kind: str) -> None:
    held = most = ends = 0

    def gone() -> None:
        nonlocal held
        held -= 1

    def rows() -> Iterator[Execution]:
        nonlocal held, most
        for number in range(ROWS):
            one = Execution(id=str(number), number=number, function="f", status=Status.PENDING, reason=Reason.QUEUED)
            weakref.finalize(one, gone)
            held, most = held + 1, max(most, held + 1)
            yield one

    for piece in export(kind, rows(), ("number", "status")):
        ends += piece.count("\n")
        assert len(piece) < PIECE * 100
    assert ends == ROWS + (kind == "csv")
    assert most <= PIECE + 2
