"""How those who wait for results hear of them: on the channel of each record, and on one connection."""

from __future__ import annotations

import contextlib
from typing import Any

from celery import states
from celery.backends.redis import ResultConsumer


class RecordConsumer(ResultConsumer):
    """Waits on the record's own channel."""

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
        # Celery before 5.5 had no lock here, and no list of what to unsubscribe.
        pending: set[Any] = getattr(self, "_pending_unsubscribe", set())
        with self._locked() if hasattr(self, "_locked") else contextlib.nullcontext():
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
