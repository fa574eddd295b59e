"""What issuing asks of the place where keys are kept, and what it decides inside that place's transactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from services.auth.keys import ApiKey


class Standing(NamedTuple):
    """What decides, at the moment at which a key is kept, whether its account may make it."""

    # The key that makes it; None if there is none.
    creator: ApiKey | None
    # How many keys the account has that work, and that do not work any more.
    living: int
    dead: int


# Raises MeshError for what must not be. The store calls them while no other key changes.
Admission = Callable[[Standing], None]
# Gets the key to revoke or to rotate and the one that asks for it, None if there is none.
Permission = Callable[[ApiKey, ApiKey | None], None]


class KeyStore(Protocol):
    """Where keys are kept."""

    async def insert_key(self, key: ApiKey, admission: Admission | None = None) -> ApiKey:
        """Keeps a new key and returns it as it is kept; raises MeshError NOT_FOUND without its account."""

    async def get_key(self, key_id: str, account_id: str = "") -> ApiKey:
        """Returns one key; raises MeshError NOT_FOUND, also for a key of another account than the one given."""

    async def find_key(self, key_id: str) -> ApiKey | None:
        """Returns one key; None if there is no such key."""

    async def list_keys(
        self,
        account_id: str = "",
        *,
        limit: int = 0,
        after_key_id: str = "",
        newest_first: bool = False,
        with_session_keys: bool = False,
    ) -> list[ApiKey]:
        """Returns the keys of one account, or all; at most `limit`, and those after one, if given."""

    async def revoke_key(
        self,
        key_id: str,
        now_ms: int,
        account_id: str = "",
        *,
        descendants: bool = False,
        revoker_key_id: str = "",
        permission: Permission | None = None,
    ) -> list[ApiKey]:
        """Marks a key as revoked unless it is already, and perhaps its descendants; returns it, then those.

        The keys of the sessions that they began are revoked, too. Raises MeshError NOT_FOUND, also for a key of another
        account than the one given.
        """

    async def replace_key(
        self, old: ApiKey, new: ApiKey, *, rotator_key_id: str = "", permission: Permission | None = None
    ) -> tuple[ApiKey, ApiKey]:
        """Keeps a new key and the old one's new expiry; raises MeshError CONFLICT if the old one has changed."""
