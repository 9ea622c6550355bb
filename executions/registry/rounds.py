"""Questions of several shards, put to the server in common rounds.

What is done in one shard is written as a generator: it yields the commands of its next round and is sent the
replies. `run` takes the generators of all shards one step at a time, so that a round costs one round trip
however many shards there are, and a single command is all that has to be consistent in itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias, TypeVar

from redis.exceptions import NoScriptError

from executions.registry import scripts
from executions.registry.connection import RedisClient

T = TypeVar("T")

#: Most records that one command reads: about two milliseconds of the server's time.
RECORDS_OF_A_COMMAND = 100

#: Members that two pieces of a sorted set have in common.
OVERLAP = 8

#: Adds one command to a pipeline.
Ask: TypeAlias = Callable[[Any], Any]

#: Yields the commands of a round, is sent their replies, and returns what it found out.
Steps: TypeAlias = Generator[list[Ask], list[Any], T]


def run(client: RedisClient, steps: Sequence[Steps[T]], *, transaction: bool = False) -> list[T]:
    """Run the steps of several shards side by side; give what each returned.

    As a `transaction`, nothing is written between the commands of a round; they are of one shard then.
    """
    results: dict[int, T] = {}
    replies: dict[int, list[Any] | None] = dict.fromkeys(range(len(steps)))
    while replies:
        asked: dict[int, list[Ask]] = {}
        for at, reply in replies.items():
            try:
                asked[at] = next(steps[at]) if reply is None else steps[at].send(reply)
            except StopIteration as done:
                results[at] = done.value
        replies = _round(client, asked, transaction)
    return [results[at] for at in range(len(steps))]


def ask(client: RedisClient, *asks: Ask, transaction: bool = False) -> list[Any]:
    """Put one round of questions; give the replies."""
    return run(client, [_once(asks)], transaction=transaction)[0]


def _once(asks: Sequence[Ask]) -> Steps[list[Any]]:
    replies = yield list(asks)
    return replies


def _round(client: RedisClient, asked: dict[int, list[Ask]], transaction: bool) -> dict[int, list[Any] | None]:
    every = [ask for asks in asked.values() for ask in asks]
    try:
        answers = iter(_answers(client, every, transaction))
    except NoScriptError:
        # These are questions: asking all of them again changes nothing.
        scripts.READ.ensure(client)
        answers = iter(_answers(client, every, transaction))
    return {at: [next(answers) for _ in asks] for at, asks in asked.items()}


def _answers(client: RedisClient, asks: Sequence[Ask], transaction: bool) -> list[Any]:
    pipeline = client.pipeline(transaction=transaction)
    for ask in asks:
        ask(pipeline)
    replies: list[Any] = pipeline.execute() if asks else []
    return replies


def by_name(name: str, *args: Any) -> Ask:
    """Ask with the pipeline's method of this name."""
    return lambda pipeline: getattr(pipeline, name)(*args)


def hget(key: str, field: str) -> Ask:
    return lambda pipeline: pipeline.hget(key, field)


def hmget(key: str, fields: Sequence[Any]) -> Ask:
    return lambda pipeline: pipeline.hmget(key, fields)


def read_parts(records: Sequence[str], fields: Sequence[str]) -> Ask:
    """Read the same parts of some records of one shard, in a third of the time that a command for each takes."""
    return lambda pipeline: scripts.READ.queue(pipeline, tuple(records), tuple(fields))


def hscan(key: str, cursor: int, count: int) -> Ask:
    return lambda pipeline: pipeline.hscan(key, cursor, count=count)


def zcount(key: str, low: str, high: str) -> Ask:
    return lambda pipeline: pipeline.zcount(key, low, high)


def zmscore(key: str, members: Sequence[int]) -> Ask:
    return lambda pipeline: pipeline.zmscore(key, members)


def zrange(key: str, low: str, high: str, offset: int, limit: int, *, descending: bool = False) -> Ask:
    """Read a piece of a sorted set by score: members with their scores."""
    if descending:
        return lambda pipeline: pipeline.zrevrangebyscore(key, high, low, offset, limit, withscores=True)
    return lambda pipeline: pipeline.zrangebyscore(key, low, high, offset, limit, withscores=True)


def zpiece(key: str, low: str, high: str, offset: int, limit: int, *, descending: bool = False) -> list[Ask]:
    """Read a piece of a sorted set by score, without the scores but for that of a member close to its end.

    Scores cost several times what the members cost. What is written between the two commands moves the second
    by a few members at most, and `OVERLAP` leaves room for that: who goes on from that score misses nothing,
    and meets some members twice.
    """
    command = "zrevrangebyscore" if descending else "zrangebyscore"
    ends = (high, low) if descending else (low, high)
    return [
        by_name(command, key, *ends, offset, limit),
        zrange(key, low, high, offset + limit - OVERLAP, 1, descending=descending),
    ]


def batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut a list into pieces."""
    return [items[at : at + size] for at in range(0, len(items), size)]
