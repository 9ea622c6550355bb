"""How those who wait for results hear of them: on the channel of each record, and on one connection."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

from celery import states
from celery.backends.redis import ResultConsumer

from executions.errors import Unavailable
from executions.telemetry import log

#: Seconds between two looks whether a server that was lost is back, at most.
PAUSE_S = 1.0

logger = logging.getLogger(__name__)


class RecordConsumer(ResultConsumer):
    """Waits on the record's own channel.

    A server that goes away is waited for, as long as whoever waits for a result is ready to. Celery gives up after some
    twenty seconds, for all results at once, and says that the application must be restarted.
    """

    #: Whether the connection is gone and what is listened to has to be asked for anew.
    _is_lost = False
    _pubsub: Any = None

    def consume_from(self, task_id: str) -> None:
        if self._is_lost:
            self.subscribed_to.add(self._get_key_for_task(task_id))
        else:
            super().consume_from(task_id)

    def drain_events(self, timeout: float | None = None) -> None:
        if self._is_lost and not self._is_found_again():
            threading.Event().wait(min(PAUSE_S, PAUSE_S if timeout is None else timeout))
        else:
            super().drain_events(timeout)

    @contextlib.contextmanager
    def reconnect_on_error(self) -> Iterator[None]:
        """Leave it to the next look to connect anew: this runs where results are let go of, too."""
        try:
            yield
        except TimeoutError:
            raise  # Celery's own word for "nothing came".
        except self._connection_errors as error:
            log(logger, "registry.unreachable", while_doing="waiting for results", error=error)
            self._is_lost, self._pubsub = True, None

    def _is_found_again(self) -> bool:
        with self._alone():
            if self._is_lost:
                try:
                    self._reconnect_pubsub()
                except (Unavailable, *self._connection_errors):
                    return False
                self._is_lost = False
        return True

    def _alone(self) -> Any:
        # Celery before 5.5 had no lock here.
        return self._locked() if hasattr(self, "_locked") else contextlib.nullcontext()

    def cancel_for(self, task_id: str) -> None:
        """Leave a channel. What was never listened to, or is not any more, needs no connection to be left.

        Celery would open one for each result that is let go of, whenever the garbage is collected.
        """
        key = self._get_key_for_task(task_id)
        if key in self.subscribed_to and getattr(self._pubsub, "connection", None) is not None:
            super().cancel_for(task_id)
        else:
            self.subscribed_to.discard(key)

    def _reconnect_pubsub(self) -> None:
        # Celery before 5.5 had no list of what to unsubscribe.
        pending: set[Any] = getattr(self, "_pending_unsubscribe", set())
        with self._alone():
            self._pubsub = None
            self._let_go()
            for key in list(self.subscribed_to):
                meta = self.backend.meta_of_channel(key)
                if meta["status"] in states.READY_STATES:
                    self.on_state_change(meta, None)
            self._pubsub = self.backend.client.pubsub(ignore_subscribe_messages=True)
            self.subscribed_to -= pending
            pending.clear()
            if self.subscribed_to:
                self._pubsub.subscribe(*self.subscribed_to)

    def on_after_fork(self) -> None:
        self._let_go()
        if self._pubsub is not None:
            self._pubsub.close()

    def _let_go(self) -> None:
        """Close the connections, of which a cluster has a pool for each node."""
        client = self.backend.client
        for pool in [client.connection_pool] if hasattr(client, "connection_pool") else _pools(client):
            pool.reset()


def _pools(cluster: Any) -> list[Any]:
    """Give the pools of a cluster's nodes that were connected to."""
    return [node.redis_connection.connection_pool for node in cluster.get_nodes() if node.redis_connection]
