"""What an API key may be allowed to use: the names that auth keeps, the edge enforces and commands offer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, TypeAlias, get_args

# What a key may use beside the management of keys; a key that is made without a list may use all of these, and what
# later versions add.
OrdinaryScope: TypeAlias = Literal["chat", "embeddings", "audio", "images", "models", "balance", "usage"]
# One of all scopes.
Scope: TypeAlias = OrdinaryScope | Literal["keys"]

# The management of the account's own keys. Whoever holds it can make and revoke keys, so it is never given unasked.
MANAGEMENT: Final = "keys"

ORDINARY: tuple[OrdinaryScope, ...] = get_args(OrdinaryScope)

ENDPOINTS: tuple[Scope, ...] = (*ORDINARY, MANAGEMENT)


def may_use(endpoints: Collection[str], endpoint: str) -> bool:
    """Tells whether a key with this list, empty for the ordinary ones, may use an endpoint."""
    return endpoint in endpoints if endpoints else endpoint != MANAGEMENT
