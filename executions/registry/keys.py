"""Every key and channel of the registry: one function for each, and nothing else knows their text.

`{n}` is the shard's number in braces, so that all keys of a shard lie in one slot of a cluster and one
script can touch them together. `ns` is the namespace, `ex` unless set otherwise.

| key                      | type   | fields / members                                   | life | written by | read by |
|--------------------------|--------|----------------------------------------------------|------|------------|---------|
| `ns:{n}:x:<id>`          | hash   | the record, see records.py; also its channel       | retention after the end | transitions | queries |
| `ns:{n}:log:<id>:<k>`    | stream | log lines of attempt k, in batches; last `end`     | retention, capped | logs | logs |
| `ns:{n}:met:<id>`        | stream | step metrics                                       | retention, capped | annotations | queries |
| `ns:{n}:ix`              | hash   | `<field>:<value>/<chunk>` -> 64 byte bitmap        | bits go with the record | transitions | indexes |
| `ns:{n}:counts`          | hash   | `<field>:<value>` -> number of executions          | empty ones are removed | transitions | queries |
| `ns:{n}:ids`             | hash   | chunk of 64 numbers -> packed ids; `x<number>` -> id | go with the record | submit, prune | queries |
| `ns:{n}:started`         | zset   | number by microseconds                             | goes with the record | start | queries |
| `ns:{n}:finished`        | zset   | number by microseconds                             | goes with the record | finish | queries, pruner |
| `ns:{n}:duration`        | zset   | number by microseconds * 1024 + low bits           | goes with the record | finish | queries |
| `ns:{n}:values`          | zset   | properties and metrics in order: name, value, number; see values.py | goes with the record | submit, annotate, edit, finish, retry | queries |
| `ns:{n}:marks`           | zset   | every 512th number by its creation time            | trimmed by the pruner | submit | queries |
| `ns:{n}:outbox`          | zset   | id by the time since which it waits for a worker   | goes at start | submit, retry, rerun | publisher |
| `ns:{n}:due`             | zset   | id by the time (us) at which its message is owed, or its chord is told of its end by upkeep | goes when that is done | submit, retry, rerun, all ends | scheduler |
| `ns:{n}:stops`           | hash   | id -> stop request of a running execution          | goes at the end | terminate | workers |
| `ns:{n}:events`          | stream | every new entry of a status log                    | capped | transitions | events |
| `ns:{n}:cache:<digest>`  | string | `<attempt>/<id>` that has computed a call; the digest chooses the shard | `cache_ttl` | cache | cache |
| `ns:{n}:meta`            | hash   | `number`, the shard's counter; `valued`, the first number whose values are in order | for ever | submit | queries |
| `ns:{0}:schema`          | hash   | `format`, `shards`, `identity`                     | for ever | connection | connection |
| `ns:{0}:service:<name>`  | hash   | settings, version, functions, paused, see service_records.py | until removed | services | services |
| `ns:{0}:services`        | set    | names of services                                  | until removed | services | services |
| `ns:{0}:slots:<name>`    | zset   | `<id>/<attempt>` that holds a slot, by its time (us) | goes at the end | services | services |
| `ns:{0}:parked:<name>`   | zset   | id that waits to start, by its time; below zero: told to try | goes at start | services | services |
| `ns:{0}:answers:<id>`    | list   | names of workers that have obeyed a command        | seconds | workers | clients |
| `ns:{0}:workers`         | zset   | term of a worker by the end of its lease           | rescuer | presence | rescuer, clients |
| `ns:{0}:worker:<term>`   | hash   | what the worker says of itself                     | ten leases | presence | clients |
| `ns:{0}:functions`      | hash   | name -> what workers say of the function, see catalogue.py | days, capped | workers | clients |
| `ns:{0}:told`           | zset   | name of a function by the time that a worker last told of it (us) | days, capped | workers | clients |
| `ns:{0}:code:<look>`     | string | what a process runs: commit, branch, repository, author, message, changed or not | retention and a month | checkouts | checkouts |
| `ns:{0}:views`           | hash   | saved views by id, and their `revision`, see views.py | until removed | clients | clients |
| `ns:{0}:counted:<digest>` | string | how many match a view's query                     | a minute | clients | clients |
| `ns:{0}:users`           | hash   | name -> role and hashed password, see people.py    | until removed | clients | server |
| `ns:{0}:tokens`          | hash   | name -> role and digest, see people.py             | until removed | clients | server |
| `ns:{0}:session:<digest>` | string | whose session it is                               | half a day | server | server |
| `ns:{0}:logins:<digest>` | string | tries to sign in of one source, or for one name    | minutes | server | server |
| `ns:{0}:linkkey`         | string | what links to inputs and outputs are signed with   | until it is replaced | clients | clients |
| `ns:{0}:audit`           | stream | who did what, see audit.py                         | capped | server | clients |
| `ns:{0}:bulk:<id>`       | hash   | what is asked for, how far it is, who carries it on; see bulks.py | retention after the end | clients | clients, upkeep |
| `ns:{0}:bulks`           | zset   | id of a bulk by its creation (us)                  | capped | clients | clients |
| `ns:{0}:carried`         | zset   | id of a bulk that has not ended, by its creation (us) | goes at its end | clients | clients, upkeep |
| `ns:{0}:leader`          | string | term of the worker that does upkeep                | one lease | leader | leader |
| `ns:held:<holder>:<source>` | list | messages that a worker holds, newest first; in the broker's database | until acknowledged or given back | consumers | restorer |
| `ns:holders`             | zset   | `<holder>:<source>` by the second of its last fetch; in the broker's database | an hour after a crash | consumers | restorer |
| `ns:commands`            | channel| commands for all workers                           |  -   | clients | workers |
| `ns:{0}:group:<id>...`   | string | Celery's own keys for groups and chords            | Celery's | backend | backend |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from executions.lazy import lazy


@dataclass(frozen=True)
class ShardKeys:
    """The keys of one shard."""

    namespace: str
    shard: int

    @lazy
    def prefix(self) -> str:
        return f"{self.namespace}:{{{self.shard}}}:"

    def record(self, execution_id: str) -> str:
        return f"{self.prefix}x:{execution_id}"

    def log(self, execution_id: str, attempt: int) -> str:
        return f"{self.prefix}log:{execution_id}:{attempt}"

    def metrics(self, execution_id: str) -> str:
        return f"{self.prefix}met:{execution_id}"

    def cached(self, digest: str) -> str:
        return f"{self.prefix}cache:{digest}"

    @lazy
    def index(self) -> str:
        return f"{self.prefix}ix"

    @lazy
    def counts(self) -> str:
        return f"{self.prefix}counts"

    @lazy
    def ids(self) -> str:
        return f"{self.prefix}ids"

    @lazy
    def started(self) -> str:
        return f"{self.prefix}started"

    @lazy
    def finished(self) -> str:
        return f"{self.prefix}finished"

    @lazy
    def duration(self) -> str:
        return f"{self.prefix}duration"

    @lazy
    def values(self) -> str:
        return f"{self.prefix}values"

    @lazy
    def marks(self) -> str:
        return f"{self.prefix}marks"

    @lazy
    def outbox(self) -> str:
        return f"{self.prefix}outbox"

    @lazy
    def due(self) -> str:
        return f"{self.prefix}due"

    @lazy
    def stops(self) -> str:
        return f"{self.prefix}stops"

    @lazy
    def events(self) -> str:
        return f"{self.prefix}events"

    @lazy
    def meta(self) -> str:
        return f"{self.prefix}meta"

    @lazy
    def _between(self) -> tuple[str, ...]:
        return (
            self.index,
            self.counts,
            self.ids,
            self.started,
            self.finished,
            self.duration,
            self.outbox,
            self.events,
            self.meta,
        )

    def of_transition(self, execution_id: str, attempt: int) -> tuple[str, ...]:
        """Give the KEYS of every script of a state change, in the order of `lua/_prelude.lua`."""
        return (
            self.record(execution_id),
            *self._between,
            self.log(execution_id, attempt),
            self.stops,
            self.marks,
            self.due,
            self.values,
        )


#: The words after the shard. A key that has another one is nobody's.
KINDS = frozenset({
    "x", "log", "met", "due", "cache", "functions", "told", "group", "chord", "ix", "counts", "ids", "started",
    "finished", "duration", "values", "marks", "outbox", "stops", "events", "meta", "schema", "service", "services",
    "slots", "parked", "answers", "workers", "worker", "leader", "code", "users", "tokens", "session", "logins", "audit",
    "bulk", "bulks", "carried", "linkkey", "views", "counted",
})  # fmt: skip


def all_keys(namespace: str) -> str:
    """Give the pattern of all keys of a namespace."""
    return f"{namespace}:*"


def kind_of(namespace: str, key: str) -> tuple[str, int, str]:
    """Take a key apart: its word (nothing where it is not ours), its shard, and whose it is."""
    rest = key.removeprefix(f"{namespace}:")
    if rest.startswith("held:") or rest == "holders":  # where the registry's database is the broker's as well
        return "held", 0, rest
    shard, closing, tail = rest.removeprefix("{").partition("}:")
    word, _, name = tail.partition(":")
    if not closing or not shard.isdigit() or word not in KINDS:
        return "", 0, ""
    return word, int(shard), name


def execution_of(record_key: str) -> str:
    """Give the id of the execution that a record's key, or its channel, belongs to."""
    return record_key.partition("}:x:")[2]


@lru_cache(maxsize=4096)
def shard_keys(namespace: str, shard: int) -> ShardKeys:
    """Give the keys of a shard."""
    return ShardKeys(namespace, shard)


def schema(namespace: str) -> str:
    return f"{namespace}:{{0}}:schema"


def service(namespace: str, name: str) -> str:
    return f"{namespace}:{{0}}:service:{name}"


def services(namespace: str) -> str:
    return f"{namespace}:{{0}}:services"


def service_slots(namespace: str, name: str) -> str:
    return f"{namespace}:{{0}}:slots:{name}"


def service_parked(namespace: str, name: str) -> str:
    return f"{namespace}:{{0}}:parked:{name}"


def answers(namespace: str, nonce: str) -> str:
    return f"{namespace}:{{0}}:answers:{nonce}"


def workers(namespace: str) -> str:
    return f"{namespace}:{{0}}:workers"


def worker(namespace: str, term: str) -> str:
    return f"{namespace}:{{0}}:worker:{term}"


def functions(namespace: str) -> str:
    return f"{namespace}:{{0}}:functions"


def functions_told(namespace: str) -> str:
    return f"{namespace}:{{0}}:told"


def code(namespace: str, look: str) -> str:
    return f"{namespace}:{{0}}:code:{look}"


def views(namespace: str) -> str:
    return f"{namespace}:{{0}}:views"


def counted(namespace: str, digest: str) -> str:
    return f"{namespace}:{{0}}:counted:{digest}"


def users(namespace: str) -> str:
    return f"{namespace}:{{0}}:users"


def tokens(namespace: str) -> str:
    return f"{namespace}:{{0}}:tokens"


def session(namespace: str, digest: str) -> str:
    return f"{namespace}:{{0}}:session:{digest}"


def logins(namespace: str, source: str) -> str:
    return f"{namespace}:{{0}}:logins:{source}"


def link_key(namespace: str) -> str:
    return f"{namespace}:{{0}}:linkkey"


def audit(namespace: str) -> str:
    return f"{namespace}:{{0}}:audit"


def bulk(namespace: str, bulk_id: str) -> str:
    return f"{namespace}:{{0}}:bulk:{bulk_id}"


def bulks(namespace: str) -> str:
    return f"{namespace}:{{0}}:bulks"


def carried(namespace: str) -> str:
    return f"{namespace}:{{0}}:carried"


def leader(namespace: str) -> str:
    return f"{namespace}:{{0}}:leader"


def held(namespace: str, holder: str, source: str) -> str:
    return f"{namespace}:held:{holder}:{source}"


def holders(namespace: str) -> str:
    return f"{namespace}:holders"


def commands(namespace: str) -> str:
    return f"{namespace}:commands"


def celery_group(namespace: str) -> str:
    return f"{namespace}:{{0}}:group:"


def celery_chord(namespace: str) -> str:
    return f"{namespace}:{{0}}:chord:"
