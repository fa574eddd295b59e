"""A passkey: what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.auth.issuing.key_store import Admission
from services.auth.keys import ApiKey

# Is told by its id of a key that was used, and when.
NoteUse = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Passkey:
    """A discoverable credential of WebAuthn. Its name and its times are those of the key that it stands on."""

    key_id: str
    account_id: str
    # By which the authenticator calls it.
    credential_id: bytes
    # The attested credential data, which contain the public key.
    credential: bytes
    # How often the authenticator has signed, as it says itself; those that synchronize passkeys always say 0.
    counter: int
    # Whether it may be copied to other devices.
    synced: bool


class FoundPasskey(NamedTuple):
    """A passkey with what decides whether it still counts."""

    passkey: Passkey
    # None if it was forgotten.
    key: ApiKey | None


class PasskeyStore(Protocol):
    """Where passkeys are kept. Every method raises MeshError UNAVAILABLE while that cannot be reached."""

    async def find_passkey(self, credential_id: bytes) -> FoundPasskey | None:
        """Returns the passkey that an authenticator calls so, whether or not it counts."""

    async def list_passkeys(self, account_id: str) -> list[FoundPasskey]:
        """Returns the passkeys of an account, oldest first, whether or not they count."""

    async def advance(self, key_id: str, counter: int) -> bool:
        """Moves the counter of a passkey forward; returns whether it did. From 0 to 0 is forward too."""

    async def insert_passkey(self, passkey: Passkey, key: ApiKey, admission: Admission | None) -> ApiKey:
        """Keeps a new passkey with its key, and returns the key as it is kept.

        Raises MeshError CONFLICT if the credential is registered already or the account may have no further key.
        """
