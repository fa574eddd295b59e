"""The shapes that every hot-path proto has in common, as types."""

# ruff: noqa: D102 - the fields are documented in the protos.

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol, TypeVar

from tiermesh.common.v1.error_pb2 import Error

# No frame carries more items, so that one burst cannot hold up the calls behind it.
MAX_FRAME_ITEMS = 256
# A frame of calls that may be large takes no further one once it has this many bytes.
MAX_FRAME_BYTES = 4 * 1024 * 1024


class Call(Protocol):
    """One call in a request frame."""

    id: int
    timeout_ms: int


class Reply(Protocol):
    """One reply in a response frame."""

    id: int

    @property
    def error(self) -> Error: ...


CallT = TypeVar("CallT", bound=Call)
ReplyT = TypeVar("ReplyT", bound=Reply)
CallT_co = TypeVar("CallT_co", bound=Call, covariant=True)
ReplyT_co = TypeVar("ReplyT_co", bound=Reply, covariant=True)
ReplyT_contra = TypeVar("ReplyT_contra", bound=Reply, contravariant=True)


class RequestFrame(Protocol[CallT_co]):
    """A frame towards a server."""

    @property
    def calls(self) -> Sequence[CallT_co]: ...
    @property
    def cancels(self) -> Sequence[int]: ...
    @property
    def sent_ms(self) -> int: ...


class NewRequestFrame(Protocol[CallT]):
    """Builds a request frame; the generated message class is one."""

    def __call__(self, *, calls: Iterable[CallT], cancels: Iterable[int], sent_ms: int) -> RequestFrame[CallT]: ...


class NewResponseFrame(Protocol[ReplyT_contra]):
    """Builds a response frame, which its client's `unpack` reads; the generated message class is one."""

    def __call__(self, *, replies: Collection[ReplyT_contra], draining: bool) -> object: ...


class NewReply(Protocol[ReplyT_co]):
    """Builds a reply that carries an error; the generated message class is one."""

    def __call__(
        self,
        *,
        id: int,  # noqa: A002 - the wire's name
        error: Error,
    ) -> ReplyT_co: ...
