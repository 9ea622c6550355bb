"""Bulks as they are kept: what is asked for, how far it is, and who carries it on.

| field | what | field | what |
|---|---|---|---|
| `action` `q` `ids` `limit` `options` `reason` | the order; `ids` and `options` as JSON | `principal` | in whose name |
| `state` `created` `finished` | times in us | `total` | how many matched at the start |
| `cursor` | where the selection goes on; empty at its end | `batch` | ids that are in hand, as JSON |
| `carrier` `until` | token and end (us) of who carries it on | `cancelled` | who asked for its end |
| `done` `s:<why>` `f:<kind>` | how many were acted on, left, failed | `failures` | some of those, as JSON |
| `message` | why it failed as a whole | | |

See docs/decisions/bulk.md for who carries it out, and why nothing is done twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executions.bulk import Action, Bulk, BulkState, Order
from executions.clock import to_datetime
from executions.registry import keys, scripts
from executions.registry.connection import translated
from executions.registry.space import Space

#: Bulks that are listed.
LISTED = 1000

#: Failures that are kept with their messages.
FAILURES_KEPT = 20


class Tally:
    """What became of a batch, counted while it is done."""

    def __init__(self, done: int = 0) -> None:
        self.done = done
        self.skipped: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []


@dataclass(frozen=True)
class Hand:
    """What a carrier holds: the ids that it acts on now, and where the selection goes on."""

    batch: tuple[str, ...]
    #: `None` where all is selected.
    cursor: str | None


class Bulks:
    """Reads and writes about bulks."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._lease_ms = round(space.settings.lease_s * 1000)

    @translated
    def open(self, bulk_id: str, order: Order, hand: Hand, total: int | None, left: Counter[str]) -> None:
        """Write a bulk down; `left` is why some of those that were looked at are left as they are."""
        said = {
            "action": order.action, "ids": json.dumps(order.ids), "options": json.dumps(dict(order.options)),
            "reason": order.reason, "principal": self._space.settings.principal, **_written(hand),
        }  # fmt: skip
        said |= {} if order.query is None else {"q": order.query}
        said |= {} if order.limit is None else {"limit": str(order.limit)}
        said |= {} if total is None else {"total": str(total)}
        said |= {f"s:{why}": str(number) for why, number in left.items()}
        fields = [part for pair in said.items() for part in pair]
        scripts.BULK_OPEN(
            self._space.client,
            (*self._places(bulk_id, listed=True),),
            (bulk_id, LISTED, *fields),
        )

    @translated
    def claim(self, bulk_id: str, token: str) -> tuple[Bulk, Hand] | None:
        """Take it where nobody carries it on; give it and what is in hand."""
        lease = (bulk_id, token, self._lease_ms)
        if not scripts.BULK_CLAIM(self._space.client, self._places(bulk_id), lease):
            return None
        raw = self._raw(bulk_id)
        return (_read(bulk_id, raw), _hand(raw)) if raw else None

    @translated
    def step(
        self, bulk: Bulk, token: str, tally: Tally, hand: Hand, state: BulkState = BulkState.RUNNING, message: str = ""
    ) -> tuple[Bulk, Hand] | None:
        """Tell what became of the batch and take the next one; `None` where another carries it on by now."""
        added: dict[str, int] = {"done": tally.done} if tally.done else {}
        added |= {f"s:{why}": number for why, number in tally.skipped.items()}
        added |= {f"f:{kind}": number for kind, number in tally.failed.items()}
        written = _written(hand) | ({"message": message} if message else {})
        if tally.failures:
            written["failures"] = json.dumps([*bulk.failures, *tally.failures][:FAILURES_KEPT])
        if not self._step(bulk.id, token, self._lease_ms, state, added, written):
            return None
        raw = self._raw(bulk.id)
        return (_read(bulk.id, raw), _hand(raw)) if raw else None

    @translated
    def let_go(self, bulk_id: str, token: str) -> None:
        """Leave it, as it is, to whoever claims it next."""
        self._step(bulk_id, token, 0, BulkState.RUNNING, {}, {})

    def _step(
        self, bulk_id: str, token: str, lease_ms: int, state: str, added: Mapping[str, int], written: Mapping[str, str]
    ) -> bool:
        numbers = [part for pair in added.items() for part in pair]
        fields = [part for pair in written.items() for part in pair]
        life_s = self._space.settings.retention_s
        given = (bulk_id, token, lease_ms, state, life_s, len(numbers), *numbers, *fields)
        return bool(scripts.BULK_STEP(self._space.client, self._places(bulk_id), given))

    @translated
    def cancel(self, bulk_id: str, principal: str) -> bool:
        """Ask for its end; tell whether it was still running."""
        return bool(scripts.BULK_CANCEL(self._space.client, (self._key(bulk_id),), (principal,)))

    @translated
    def read(self, bulk_id: str) -> Bulk | None:
        """Read one."""
        raw = self._raw(bulk_id)
        return _read(bulk_id, raw) if raw else None

    @translated
    def newest(self, limit: int) -> Sequence[Bulk]:
        """Read the newest ones."""
        ids = self._space.client.zrevrange(keys.bulks(self._space.namespace), 0, min(limit, LISTED) - 1)
        pipeline = self._space.client.pipeline(transaction=False)
        for one in ids:
            pipeline.hgetall(self._key(one.decode()))
        found = [(one.decode(), _text(raw)) for one, raw in zip(ids, pipeline.execute(), strict=True)]
        return [_read(one, raw) for one, raw in found if raw]

    @translated
    def running(self, limit: int) -> Sequence[str]:
        """Give the ids of those that have not ended, the oldest first."""
        found = self._space.client.zrange(keys.carried(self._space.namespace), 0, limit - 1)
        return [one.decode() for one in found]

    def _raw(self, bulk_id: str) -> dict[str, str]:
        return _text(self._space.client.hgetall(self._key(bulk_id)))

    def _key(self, bulk_id: str) -> str:
        return keys.bulk(self._space.namespace, bulk_id)

    def _places(self, bulk_id: str, *, listed: bool = False) -> tuple[str, ...]:
        namespace = self._space.namespace
        all_of = (keys.bulks(namespace),) if listed else ()
        return (self._key(bulk_id), *all_of, keys.carried(namespace))


def _text(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode(errors="replace") for name, value in raw.items()}


def _written(hand: Hand) -> dict[str, str]:
    return {"batch": json.dumps(hand.batch), "cursor": hand.cursor or ""}


def _hand(raw: Mapping[str, str]) -> Hand:
    return Hand(tuple(json.loads(raw.get("batch") or "[]")), raw.get("cursor") or None)


def _read(bulk_id: str, raw: Mapping[str, str]) -> Bulk:
    def counts(prefix: str) -> dict[str, int]:
        found = {name[2:]: int(number) for name, number in raw.items() if name.startswith(prefix)}
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    created = to_datetime(int(raw["created"]))
    assert created is not None
    options: dict[str, Any] = json.loads(raw["options"])
    order = Order(
        action=Action(raw["action"]), query=raw.get("q"), ids=tuple(json.loads(raw["ids"])), options=options,
        limit=int(raw["limit"]) if "limit" in raw else None, reason=raw.get("reason", ""),
    )  # fmt: skip
    return Bulk(
        id=bulk_id,
        order=order,
        principal=raw.get("principal", ""),
        state=BulkState(raw["state"]),
        created=created,
        finished=to_datetime(int(raw["finished"])) if "finished" in raw else None,
        total=int(raw["total"]) if "total" in raw else None,
        done=int(raw.get("done", 0)),
        skipped=counts("s:"),
        failed=counts("f:"),
        failures=tuple((one, said) for one, said in json.loads(raw.get("failures", "[]"))),
        cancelled_by=raw.get("cancelled", ""),
        message=raw.get("message", ""),
    )
