"""The worker's part of the library: its place in the fleet, its beats, its ear for commands.

One thread in the worker's parent process does all of it. The thread that runs a function, and the
interpreter lock of a child, play no part, so a busy function cannot make its worker look dead.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from typing import Any

from billiard.process import current_process
from celery import bootsteps, signals
from celery.worker import state

from executions import capture
from executions.celery.control import install_revoke
from executions.celery.followers import release_followers
from executions.celery.losses import settle_loss
from executions.celery.site import Place, Site, site_of
from executions.clock import SYSTEM_CLOCK
from executions.dispatch import HEADER
from executions.errors import ExecutionsError
from executions.registry.workers import StopCommand, read_command
from executions.slots import Seen, Slots, Stop, token_of
from executions.states import Status
from executions.telemetry import log
from executions.version import VERSION
from workers.bootsteps.resets import Resets
from workers.bootsteps.stops import Stopper
from workers.bootsteps.upkeep import UpkeepThread
from workers.pools import install_soft_signal, pool_for
from workers.processes import Watched

logger = logging.getLogger(__name__)

#: Seconds between two looks at the slots. Commands are pushed and do not wait for this.
TICK_S = 0.2

#: Slots beyond the pool's size, so that it may grow.
SPARE_SLOTS = 256

#: Cancelled executions whose messages have not come yet, that a worker remembers; the oldest are forgotten.
CANCELLED_KEPT = 10_000

_POOL_NAMES = {"thread": "threads"}


class Fleet(bootsteps.StartStopStep):
    """Celery's name for our part of a worker."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        self.site = site_of(parent.app)
        self.thread: FleetThread | None = None
        self.upkeep: UpkeepThread | None = None
        if self.site is None:
            self.enabled = False
            return
        name = parent.pool_cls.__module__.rpartition(".")[2]
        size = int(getattr(parent, "max_concurrency", None) or getattr(parent, "concurrency", 1) or 1)
        place = Place(parent.hostname, _POOL_NAMES.get(name, name), Slots(size + SPARE_SLOTS))
        self.site.place = place
        install_revoke()
        if place.pool == "prefork":
            signals.worker_process_init.connect(self._in_child, weak=False)
        else:
            capture.install()
        # Made before the children are forked, which share its memory: what this process hears reaches them.
        _ = self.site.services
        super().__init__(parent, **options)

    def _in_child(self, **_: Any) -> None:
        """In a new child process: take its slot, listen to its signal, catch its output."""
        assert self.site is not None
        assert self.site.place is not None
        self.site.place.own_slot = current_process().index
        install_soft_signal(self.site.place)
        capture.install(descriptors=True)

    def start(self, parent: Any) -> None:
        assert self.site is not None
        assert self.site.place is not None
        if self.site.place.pool == "solo":
            install_soft_signal(self.site.place)
        self.thread = FleetThread(self.site, self.site.place, parent)
        self.thread.start()
        self.upkeep = UpkeepThread(self.site, lambda: self.thread.term if self.thread else "")
        self.upkeep.start()

    def stop(self, parent: Any) -> None:
        if self.upkeep is not None:
            self.upkeep.leave()
        if self.thread is not None:
            self.thread.leave()

    terminate = stop


class FleetThread(threading.Thread):
    """Beats, hears commands, watches limits and children."""

    def __init__(self, site: Site, place: Place, worker: Any) -> None:
        super().__init__(name="executions-fleet", daemon=True)
        self._site = site
        self._place = place
        self._worker = worker
        self._leaving = threading.Event()
        self._watched = Watched()
        self._beat_at = 0.0
        self._subscription: Any = None
        self._cancelled: OrderedDict[str, None] = OrderedDict()
        signals.task_received.connect(self._on_received, weak=False)
        self.term = place.new_term()
        self._stopper = Stopper(
            place.slots, pool_for(place), site.settings, on_kill=self._before_kill, on_stuck=self._say_stuck
        )
        self._resets = Resets(site, place.slots, self._stopper)

    def leave(self) -> None:
        """Stop, and leave the fleet in order."""
        self._leaving.set()
        self.join(timeout=5.0)
        try:
            if self._place.slots.seen():
                self._site.workers.give_up(self.term)
            else:
                self._site.workers.resign(self.term)
        except ExecutionsError:
            log(logger, "registry.unreachable", while_doing="resign")

    def run(self) -> None:
        while not self._leaving.is_set():
            try:
                self._beat()
                self._hear()
                self._resets.look(SYSTEM_CLOCK.monotonic())
            except (ExecutionsError, OSError, ValueError) as error:
                log(logger, "registry.unreachable", error=error)
                self._subscription = None
                self._leaving.wait(TICK_S)
            except Exception:
                log(logger, "upkeep.failed", chore="fleet", exc_info=True)
                self._leaving.wait(TICK_S)
            self._look()
        self._watched.close()

    def _beat(self) -> None:
        now = SYSTEM_CLOCK.monotonic()
        if now < self._beat_at:
            return
        self._beat_at = now + self._site.settings.beat_s
        stands, stops = self._site.workers.beat(self._place.worker, self.term, self._facts())
        if not stands:
            log(logger, "worker.term_over", term=self.term)
            self.term = self._place.new_term()
        for command in stops:
            self._stopper.ask(command, now)

    def _facts(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "pool": self._place.pool,
            "concurrency": getattr(self._worker, "concurrency", None),
            "queues": sorted(self._worker.app.amqp.queues.consume_from),
            "running": len(self._place.slots.seen()),
        }

    def _hear(self) -> None:
        if self._subscription is None:
            self._subscription = self._site.workers.subscribe()
        message = self._subscription.get_message(timeout=TICK_S)
        while message is not None:
            self._obey(read_command(message))
            message = self._subscription.get_message(timeout=0)

    def _obey(self, command: dict[str, Any]) -> None:
        if command["do"] == "stop" and command["worker"] == self._place.worker:
            stop = StopCommand(command["id"], command["attempt"], command["mode"], command["grace_s"])
            self._stopper.ask(stop, SYSTEM_CLOCK.monotonic())
        elif command["do"] == "cancelled":
            self._release(command["id"])
        elif command["do"] == "services":
            self._site.services.forget(command["name"])
            if command.get("answer"):
                self._site.services.answer(command["answer"], self._place.worker)

    def _release(self, execution_id: str) -> None:
        """An execution whose message waits here for its time was cancelled: nobody must wait for it any longer."""
        request = state.requests.get(execution_id) or self._scheduled(execution_id)
        if request is not None:
            release_followers(request.task.backend, request._context)
            return
        # Its message may still be on its way here.
        self._cancelled[execution_id] = None
        while len(self._cancelled) > CANCELLED_KEPT:
            self._cancelled.popitem(last=False)

    def _on_received(self, request: Any = None, **_: Any) -> None:
        """A message came, by Celery's signal: let those go who wait for it, where it was cancelled meanwhile."""
        if request is None or request.id not in self._cancelled:
            return
        self._cancelled.pop(request.id, None)
        try:
            if self._site.transitions.status_of(request.id) is Status.TERMINATED:
                release_followers(request.task.backend, request._context)
        except ExecutionsError:
            log(logger, "registry.unreachable", while_doing="release")

    def _scheduled(self, execution_id: str) -> Any:
        """Celery before 5.5 knew a request that waits for its time only as an entry of its timer."""
        timer = getattr(self._worker.consumer, "timer", None)
        for waiting in list(timer.schedule.queue) if timer else ():
            first = next(iter(waiting.entry.args), None)
            if getattr(first, "id", None) == execution_id:
                return first
        return None

    def _look(self) -> None:
        self._stopper.tick(SYSTEM_CLOCK.monotonic())
        if self._place.pool != "prefork":
            return
        occupied = self._place.slots.seen()
        self._watched.watch({seen.pid for seen in occupied})
        for pid in self._watched.ended():
            for seen in occupied:
                if seen.pid == pid:
                    self._child_lost(seen)

    def _child_lost(self, seen: Seen) -> None:
        """A child ended while it ran something: record that at once, Celery's own notice takes seconds."""
        request = self._request_of(seen.token)
        self._place.slots.leave(seen.index)
        if request is not None:
            settle_loss(self._site, request)
        self._replace_child()

    def _replace_child(self) -> None:
        """Have the pool start a new child now; by itself it looks only every five seconds."""
        hub, maintain = getattr(self._worker, "hub", None), getattr(self._worker.pool, "maintain_pool", None)
        if hub is not None and maintain is not None:
            hub.call_soon(maintain)

    def _request_of(self, token: int) -> Any:
        for request in list(state.active_requests) + list(state.reserved_requests):
            mark = request.request_dict.get(HEADER) or {}
            if token_of(request.id, mark.get("attempt") or 1) == token:
                return request
        return None

    def _before_kill(self, seen: Seen, kind: Stop) -> None:
        request = self._request_of(seen.token)
        if request is not None:
            request.killed = kind

    def _say_stuck(self, seen: Seen, kind: Stop) -> None:
        running = self._place.running.get(seen.index)
        if running is not None:
            text = f"not interruptible on this pool ({self._place.pool}): waiting for the code to come back"
            self._site.transitions.annotate(running.id, running.attempt, fields=("msg", text))
