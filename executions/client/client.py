"""`Client`: one registry, and the verbs and collections that hang on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from executions.client.audit import AuditView
from executions.client.bulks import BulksView
from executions.client.carrier import Carrier
from executions.client.executions import Executions
from executions.client.functions import FunctionsView
from executions.client.health import Check, examine
from executions.client.invariants import Report, check
from executions.client.payloads import PayloadsView
from executions.client.people import PeopleView
from executions.client.queues import QueuesView
from executions.client.services import ServicesView
from executions.client.submit import Submitter
from executions.client.verbs import ClientVerbs
from executions.client.views import ViewsView
from executions.client.workers import WorkersView
from executions.execution import Execution
from executions.lazy import lazy
from executions.parts import Parts
from executions.registry.bulks import Bulks
from executions.registry.changes import Watcher
from executions.registry.health import ping
from executions.registry.queries import Queries
from executions.settings import Settings


class Client:
    """A registry and its broker, as an application sees them. Safe to share between threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @classmethod
    def auto(cls, **settings: Any) -> Client:
        """Make a client from the environment (`EXECUTIONS_URL` and the like); nothing is connected to yet."""
        return cls(Parts(Settings.from_env(**settings)))

    @property
    def settings(self) -> Settings:
        """What this client was made with."""
        return self._parts.settings

    @lazy
    def executions(self) -> Executions:
        """The executions: get, list, count, terminate, rerun."""
        return Executions(self._parts, self._queries, self._verbs, self.bulk)

    @lazy
    def bulk(self) -> BulksView:
        """One action on many executions: call it, or plan, get, list, cancel."""
        carrier = Carrier(Bulks(self._parts.space), self._queries, lambda who: self.acting_as(who)._verbs)
        return BulksView(self._parts, self._queries, carrier)

    @lazy
    def functions(self) -> FunctionsView:
        """The functions that workers know: get, list."""
        return FunctionsView(self._parts)

    @lazy
    def workers(self) -> WorkersView:
        """The workers of the fleet."""
        return WorkersView(self._parts)

    @lazy
    def queues(self) -> QueuesView:
        """The queues: what waits where, and who serves it."""
        return QueuesView(self._parts, lambda: self._queries)

    @lazy
    def payloads(self) -> PayloadsView:
        """Inputs and outputs as files, and links to them."""
        return PayloadsView(self._parts, self._queries)

    @lazy
    def services(self) -> ServicesView:
        """The services: deploy, get, list."""
        return ServicesView(self._parts, self._submitter)

    @lazy
    def views(self) -> ViewsView:
        """The saved views: lists under a name."""
        return ViewsView(self._parts, lambda: self._queries)

    @lazy
    def people(self) -> PeopleView:
        """Who is let in to the page and the API: users, tokens."""
        return PeopleView(self._parts)

    @lazy
    def audit(self) -> AuditView:
        """Who did what on the page and through the API."""
        return AuditView(self._parts)

    def acting_as(self, principal: str) -> Client:
        """Give this client for somebody else: what it does is recorded in that name."""
        watcher, twin = self._watcher, Client(self._parts.acting_as(principal))
        twin.__dict__["_watcher"] = watcher
        return twin

    def submit(self, function: Any, /, *args: Any, **options: Any) -> Execution:
        """Ask for one run of a function (a task, or the name of one) and give its picture at once.

        `args` and unknown keywords go to the function; the known ones are options: `name`, `name_prefix`, `tags`,
        `queue`, `priority`, `eta`, `countdown`, `expires`, `execution_timeout`, `on_reset`, `max_attempts`, `retry_on`,
        `give_up_on`, `backoff_delay`, `cache`, `overwrite_cache`, `pipeline`, `stage`, `properties`, `service`,
        `reference`, `principal`, `wait`. Where the function has a parameter of such a name, pass its arguments as
        `inputs={...}`.
        A submit with a `name` happens once: a second one finds the first.
        """
        wait = options.pop("wait", False)
        execution = self._submitter.submit(function, args, options)
        return execution.wait() if wait else execution

    def submit_once(self, key: str, function: Any, /, *args: Any, **options: Any) -> Execution:
        """Submit, but at most once for a key: who does not know whether a submit arrived can send it again.

        The second call gives the execution of the first. Raises `Conflict` where the key was used before for
        another function or other inputs. A key is of the one who acts: others' keys are others.
        """
        return self._submitter.submit_once(key, function, args, options)

    def map(self, function: Any, inputs: Iterable[Any], /, **options: Any) -> list[Execution]:
        """Ask for many runs, in large batches.

        Each input is a tuple of positional arguments, a dict of keywords, or else the one argument.
        """
        return self._submitter.map(function, inputs, options)

    def ping(self) -> float:
        """Ask the registry's server for a sign of life and give the seconds it took; raises `Unavailable`."""
        return ping(self._parts.space)

    def health(self) -> list[Check]:
        """Look at the server, the broker, the workers and the payload store, and say what to do about each."""
        return examine(self._parts)

    def invariants(self, *, repair: bool = False, progress: Callable[[str, int, int], None] | None = None) -> Report:
        """Look at the whole registry, while it is in use: does it hold what the system promises?

        Nothing is changed unless `repair` is true. `progress` is called with what is looked at, how much of it is
        done, and how much there is (0 where that is not known).
        """
        return check(self._parts, repair=repair, progress=progress)

    def close(self) -> None:
        """Let go of the connections that this client opened by itself."""
        self._watcher.close()

    @lazy
    def _verbs(self) -> ClientVerbs:
        return ClientVerbs(self._parts, self._watcher, self._submitter, lambda: self._queries)

    @lazy
    def _queries(self) -> Queries:
        return Queries(self._parts.space, self._verbs.bind)

    @lazy
    def _submitter(self) -> Submitter:
        return Submitter(self._parts, lambda: self._queries)

    @lazy
    def _watcher(self) -> Watcher:
        return Watcher(lambda: self._parts.space)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
