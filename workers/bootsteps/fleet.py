"""The worker's part of the library: its place in the fleet, its beats, its ear for commands.

One thread in the worker's parent process does all of it. The thread that runs a function, and the
interpreter lock of a child, play no part, so a busy function cannot make its worker look dead.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Any

from billiard.process import current_process
from celery import bootsteps, signals

from executions import capture
from executions.celery import rabbitmq
from executions.celery.control import install_revoke
from executions.celery.site import Place, Site, site_of
from executions.clock import SYSTEM_CLOCK
from executions.errors import ExecutionsError
from executions.slots import Seen, Slots, Stop, make_file
from executions.telemetry import Outage, log
from executions.upkeep.services import chores, prompt_chores
from workers.bootsteps.busy import remember_busy_children
from workers.bootsteps.children import Children, request_of
from workers.bootsteps.condition import Condition
from workers.bootsteps.drain import Drain
from workers.bootsteps.ear import Ear
from workers.bootsteps.forks import renew_locks
from workers.bootsteps.functions import Teller
from workers.bootsteps.handed import Handed
from workers.bootsteps.pacemaker import Pacemaker
from workers.bootsteps.presence import Presence
from workers.bootsteps.resets import Resets
from workers.bootsteps.stops import Stopper
from workers.bootsteps.upkeep import UpkeepThread
from workers.pools import install_soft_signal, pool_for

logger = logging.getLogger(__name__)

#: Seconds between two looks at the slots. Commands are pushed and do not wait for this.
TICK_S = 0.2

#: Seconds that a worker which is told to end at once waits until what it ran has ended.
ENDED_WITHIN_S = 4.0

#: Slots beyond the pool's size, so that it may grow.
SPARE_SLOTS = 256

_POOL_NAMES = {"thread": "threads"}


class Fleet(bootsteps.StartStopStep):
    """Celery's name for our part of a worker."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        self.site = site_of(parent.app)
        self.thread: FleetThread | None = None
        self.condition: Condition | None = None
        self.upkeep: list[UpkeepThread] = []
        #: When a broker that cannot be heard otherwise was last asked something.
        self._asked = 0.0
        if self.site is None:
            self.enabled = False
            return
        name = parent.pool_cls.__module__.rpartition(".")[2]
        size = int(getattr(parent, "max_concurrency", None) or getattr(parent, "concurrency", 1) or 1)
        pool, slots = _POOL_NAMES.get(name, name), size + SPARE_SLOTS
        place = Place(parent.hostname, pool, Slots(slots, None if pool == "prefork" else make_file(slots)))
        self.site.place = place
        install_revoke()
        keep_to_queues(parent.app)
        rabbitmq.use_defaults(parent.app, place.pool)
        if place.pool == "prefork":
            renew_locks()
            signals.worker_process_init.connect(self._in_child, weak=False)
            signals.worker_ready.connect(lambda **_: remember_busy_children(parent.pool), weak=False)
        else:
            capture.install()
        # Made before the children are forked, which share its memory: what this process hears reaches them.
        _ = self.site.services
        # And the payload store: a relative folder is one of the worker's, wherever functions change to.
        _ = self.site.payloads
        self.site.checkouts.own()
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
        if getattr(parent, "hub", None) is not None:
            parent.hub.on_tick.add(partial(self._turn, parent))
        self.thread = FleetThread(self.site, self.site.place, parent)
        self.thread.start()
        presence = self.thread.presence
        self.upkeep = [
            UpkeepThread(name, self.site, partial(made, self.site, presence.contact), lambda: presence.term)
            for name, made in (("upkeep", chores), ("schedule", prompt_chores))
        ]
        for thread in self.upkeep:
            thread.start()
        self.condition = Condition(self.site, self.site.place, presence, self._heard)
        self.condition.start()

    def _heard(self) -> float | None:
        """When the registry last answered a thread of this worker that does not beat."""
        return max((thread.heard for thread in self.upkeep if thread.heard is not None), default=None)

    def _turn(self, parent: Any) -> None:
        """Note that the main loop lives. It looks at least every ten seconds, also where nothing comes."""
        assert self.site is not None
        assert self.site.place is not None
        now = self.site.place.turned = SYSTEM_CLOCK.monotonic()
        if self.site.place.pool == "solo" and now - self._asked >= rabbitmq.ASKED_AFTER_S:
            self._asked = now
            rabbitmq.ask(getattr(parent.consumer, "connection", None))

    def stop(self, parent: Any) -> None:
        """Leave the lead to others. What runs goes on, so the worker stays in the fleet until its pool has ended."""
        for thread in self.upkeep:
            thread.leave()
        if self.thread is not None:
            signals.worker_shutdown.connect(self._leave, weak=False)

    def terminate(self, parent: Any) -> None:
        """End what runs, while there is still somebody who can say what becomes of it."""
        for thread in self.upkeep:
            thread.leave()
        if self.thread is not None:
            self.thread.drain_now()
        self._leave()

    def _leave(self, **_: Any) -> None:
        if self.thread is not None:
            self.thread.leave()
        if self.condition is not None:
            self.condition.leave()


def keep_to_queues(app: Any) -> None:
    """Have a worker consume the queues that it was started for, and no other.

    Before Celery 5.7 every queue that it sends something to is one of its own from then on, after the next broken
    connection: the upkeep of any worker sends to the queues of all.
    """
    queues = app.amqp.queues
    queues.select(list(queues.consume_from))


class FleetThread(threading.Thread):
    """Beats, hears commands, watches limits and children."""

    def __init__(self, site: Site, place: Place, worker: Any) -> None:
        super().__init__(name="executions-fleet", daemon=True)
        self._site = site
        self._place = place
        self._leaving = threading.Event()
        self._stopper = Stopper(
            place.slots, pool_for(place), site.settings, on_kill=self._before_kill, on_stuck=self._say_stuck
        )
        self._drain = Drain(site, place, worker, self._stopper)
        self._resets = Resets(site, place.slots, self._stopper)
        self._teller = Teller(site, place.worker)
        is_prefork = place.pool == "prefork"
        self._children = Children(site, place, worker) if is_prefork else None
        self._pacemaker = None if is_prefork else Pacemaker(site.settings, place.worker, place.slots)
        self._ear = Ear(
            site, place.worker,
            on_stop=lambda stop: self._stopper.ask(stop, SYSTEM_CLOCK.monotonic()),
            on_service=self._teller.service_changed,
            on_drain=self.drain_and_stay,
        )  # fmt: skip
        self.presence = Presence(site, place, worker, self._stopper.lose_all)
        self._outage = Outage(logger, "beat")
        self._handed: Handed | None = None
        if self._children is not None:
            patience_s, in_touch = site.settings.start_within_s, self.presence.in_touch
            self._handed = Handed(place, worker, patience_s, in_touch=in_touch, replace=self._children.replace)

    def leave(self) -> None:
        """Stop, and leave the fleet in order."""
        self._leaving.set()
        self.join(timeout=5.0)
        if self._pacemaker is not None:
            self._pacemaker.end()
        self.presence.leave()

    def drain_and_stay(self, on: bool) -> None:
        """Take nothing new, or take again; what waits here goes back with the next look."""
        self._drain.stay(on)
        self.presence.soon()

    def drain_now(self) -> None:
        """End what runs and wait a moment for it; called while the thread looks on."""
        wait, deadline = threading.Event(), SYSTEM_CLOCK.monotonic() + ENDED_WITHIN_S
        self._drain.hurry()
        while self._place.slots.seen() and SYSTEM_CLOCK.monotonic() < deadline:
            wait.wait(TICK_S / 4)

    def run(self) -> None:
        while not self._leaving.is_set():
            try:
                now = SYSTEM_CLOCK.monotonic()
                self._place.slots.turn(round(now * 1e9))
                for command in self.presence.beat(now):
                    self._stopper.ask(command, now)
                self._teller.look(now)
                self._ear.listen(TICK_S)
                self._resets.look(SYSTEM_CLOCK.monotonic())
                self._outage.over()
            except (ExecutionsError, OSError, ValueError) as error:
                self._outage.goes_on(error)
                self._ear.forget()
                self._leaving.wait(TICK_S)
            except Exception:
                log(logger, "upkeep.failed", chore="fleet", exc_info=True)
                self._leaving.wait(TICK_S)
            try:
                self._look()
            except Exception:
                # Celery's lists change under their reader; a thread that died of that would be a lost worker.
                log(logger, "upkeep.failed", chore="fleet", exc_info=True)
        if self._children is not None:
            self._children.close()

    def _look(self) -> None:
        self._drain.look(SYSTEM_CLOCK.monotonic())
        self._stopper.tick(SYSTEM_CLOCK.monotonic())
        if self._children is not None:
            self._children.look()
        if self._handed is not None:
            self._handed.look(SYSTEM_CLOCK.monotonic())
        if self._pacemaker is not None:
            self._pacemaker.look(SYSTEM_CLOCK.monotonic())

    def _before_kill(self, seen: Seen, kind: Stop) -> None:
        request = request_of(seen.token)
        if request is not None:
            request.killed = kind

    def _say_stuck(self, seen: Seen, kind: Stop) -> None:
        running = self._place.running.get(seen.index)
        if running is not None:
            text = f"not interruptible on this pool ({self._place.pool}): waiting for the code to come back"
            self._site.transitions.annotate(running.id, running.attempt, fields=("msg", text))
