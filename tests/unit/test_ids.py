"""Ids of executions: nobody else's, also where processes are copies of each other."""

from __future__ import annotations

import os

from executions.ids import new_id


def test_forked_processes_make_ids_of_their_own() -> None:
    # Given a process that has made ids, and copies of it that go on from there, as the children of a pool do
    new_id()
    reading, writing = os.pipe()
    for _ in range(4):
        if os.fork() == 0:
            os.write(writing, f"{new_id()}\n".encode())
            os._exit(0)
        os.wait()
    os.close(writing)
    with open(reading) as told:
        made = told.read().split()
    # I expect no two of them to have drawn the same: not the time may tell them apart, which can be the same
    assert len({one[-12:] for one in made}) == len(made) == 4
