"""A way to sign in without an API key, as the pages use it: a passkey or a wallet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, TypeAlias

from services.console.visit import Visit
from tiermesh.auth.v1 import sign_in_pb2

Purpose: TypeAlias = "sign_in_pb2.PasskeyPurpose.ValueType"


class SignInMethod(Protocol):
    """Passes on what a browser sends to auth, which decides. Every method raises MeshError.

    Auth ties a challenge to the browser by its cookie: the token of its session if it has one, and otherwise the text
    that ties forms to it.
    """

    @property
    def name(self) -> str:
        """What people call it, such as "passkey"; also a part of paths and of the labels of metrics."""

    async def options(self, purpose: Purpose, visit: Visit, *, account_name: str = "") -> Mapping[str, Any]:
        """Returns what the script of the page needs for a challenge."""

    async def sign_up(self, visit: Visit) -> tuple[str, str]:
        """Opens an account; returns the token of its first session, and the account's ID."""

    async def sign_in(self, visit: Visit) -> str:
        """Begins a session and returns its token."""

    async def confirm(self, visit: Visit) -> None:
        """Shows once more what has begun the session."""

    async def add(self, visit: Visit, name: str) -> str:
        """Adds one to the account; returns the token of a new session if a recovery code has begun this one."""

    async def key_ids(self, account_id: str) -> Collection[str]:
        """Returns the keys that those of an account stand on, those that work."""
