"""One registry as a process sees it: the server, the namespace, the number of shards."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from executions.errors import Conflict, Unsupported
from executions.ids import shard_of
from executions.registry import keys as names
from executions.registry.address import parse
from executions.registry.connection import (
    OLDEST_SERVER,
    RedisClient,
    client_for,
    make_client,
    translate,
)
from executions.registry.keys import ShardKeys, shard_keys
from executions.registry.records import FORMAT
from executions.settings import Settings


@dataclass
class Space:
    """Knows where everything is. Nothing is asked of the server before the first use."""

    settings: Settings
    _shards: int = field(default=0, init=False)
    _identity: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.address = parse(self.settings.url)
        self.url = self.address.url
        self.namespace = self.settings.namespace

    @property
    def client(self) -> RedisClient:
        """This process's client."""
        return client_for(self.url, self.settings.patience_s)

    def own_client(self, *, socket_timeout_s: float | None) -> RedisClient:
        """Make a client with connections of its own, for reads that block."""
        return make_client(self.url, socket_timeout_s=socket_timeout_s, patience_s=self.settings.patience_s)

    @property
    def shards(self) -> int:
        """How many shards this registry has; settled when it is first used by anyone."""
        # No lock: a child forked while another thread held it would wait for ever, and agreeing twice is harmless.
        if not self._shards:
            self._shards, self._identity = self._agree()
        return self._shards

    @property
    def identity(self) -> str:
        """What tells this registry from every other one, also from those that share its payload store."""
        return self._identity if self.shards else ""

    def shard(self, execution_id: str) -> int:
        return shard_of(execution_id, self.shards)

    def keys(self, execution_id: str) -> ShardKeys:
        """Give the keys of the shard that an execution lies in."""
        return shard_keys(self.namespace, self.shard(execution_id))

    def all_keys(self) -> list[ShardKeys]:
        """Give the keys of every shard."""
        return [shard_keys(self.namespace, shard) for shard in range(self.shards)]

    def _agree(self) -> tuple[int, str]:
        """Write the schema where there is none, check it where there is one."""
        name = names.schema(self.namespace)
        try:
            pipeline = self.client.pipeline(transaction=False)
            pipeline.hsetnx(name, "format", FORMAT)
            pipeline.hsetnx(name, "shards", self.settings.shards)
            pipeline.hsetnx(name, "identity", secrets.token_hex(8))
            pipeline.hmget(name, "format", "shards", "identity")
            *_, (written, shards, identity) = pipeline.execute()
            # Apart from the others: a cluster answers it for a node, not for a key.
            info = self.client.info("server")
        except RedisError as error:
            raise translate(error) from error
        version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
        if version < OLDEST_SERVER:
            raise Unsupported(f"server {info['redis_version']} is too old; 6.2 or newer is needed")
        if int(written) > FORMAT:
            raise Unsupported(
                f"the registry has format {int(written)}, this version reads up to {FORMAT}; upgrade this process"
            )
        if self.settings.shards not in (1, int(shards)):
            raise Conflict(
                f"the registry has {int(shards)} shards and keeps them; {self.settings.shards} were asked for"
            )
        return int(shards), identity.decode()
