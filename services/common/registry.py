"""What a runner writes into etcd about itself, and where: the contract between runners and routers.

The value is JSON, so that `etcdctl get --prefix /tiermesh/runners/` is readable. Load is not in it: it changes too
often.
"""

from __future__ import annotations

import msgspec

RUNNERS_PREFIX = "/tiermesh/runners/"


class RunnerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One registered runner. Unknown fields are ignored, so that old routers understand new runners."""

    id: str
    # Where its RunnerService listens, host:port.
    address: str
    tier: str
    # Catalog ids of the models it serves.
    models: list[str]
    capabilities: list[str] = []
    # Tokens of prompt and answer together.
    context: int
    # Requests it runs at once.
    slots: int
    engine: str
    version: str
    # Names of its GPUs, their memory together in bytes, and the pages of the engine's cache; nothing without a GPU.
    gpus: list[str] = []
    gpu_memory: int = 0
    pages: int = 0
    # Digest of what the tokens of its model spell; empty where there are none. Another runner goes on after the tokens
    # of this one only with the same.
    vocabulary: str = ""
    # "ready" or "draining".
    state: str = "ready"

    @property
    def key(self) -> bytes:
        """The etcd key of the record."""
        return (RUNNERS_PREFIX + self.id).encode()

    def to_json(self) -> bytes:
        """Returns the etcd value."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, value: bytes) -> RunnerRecord:
        """Reads an etcd value; raises msgspec.ValidationError or msgspec.DecodeError."""
        return msgspec.json.decode(value, type=cls)
