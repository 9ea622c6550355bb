"""What a broker connection of an installed app leaves behind in its worker."""

from __future__ import annotations

from celery import Celery
from kombu.asynchronous import Hub

import executions


def test_a_connection_that_is_gone_leaves_nothing_in_the_loop_of_its_worker(broker_url: str) -> None:
    app = Celery("loop", broker=broker_url, set_as_current=False)
    executions.install(app)
    loop = Hub()
    for _ in range(3):
        with app.connection_for_read() as connection:
            connection.connect()
            connection.transport.register_with_event_loop(connection.connection, loop)
            assert len(loop.on_tick) == 1
    assert loop.on_tick == set()
    loop.close()
    app.close()
