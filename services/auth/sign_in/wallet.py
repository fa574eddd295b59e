"""An Ethereum wallet that signs in: what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.auth.issuing.key_store import Admission
from services.auth.keys import ApiKey

# What is said only to who has shown that the wallet is theirs.
WALLET_TAKEN = "This wallet signs in to an account already. Sign in with it."


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet with a key of its own. Its name and its times are those of the API key that it stands on."""

    key_id: str
    account_id: str
    # In lower case, with 0x.
    address: str


class FoundWallet(NamedTuple):
    """A wallet with what decides whether it still counts."""

    wallet: Wallet
    # None if it was forgotten.
    key: ApiKey | None

    def works(self, now_ms: int) -> bool:
        """Whether it signs in now, unless its account is suspended or closed."""
        return self.key is not None and self.key.works(now_ms)


class WalletStore(Protocol):
    """Where wallets are kept. Every method raises MeshError UNAVAILABLE while that cannot be reached."""

    async def find_wallet(self, address: str) -> FoundWallet | None:
        """Returns the wallet with an address, whether or not it counts."""

    async def list_wallets(self, account_id: str) -> list[FoundWallet]:
        """Returns the wallets of an account, oldest first, whether or not they count."""

    async def insert_wallet(self, wallet: Wallet, key: ApiKey, admission: Admission | None) -> ApiKey:
        """Keeps a new wallet with its key, and returns the key as it is kept.

        Raises MeshError CONFLICT if the wallet signs in to an account already, or the account may have no further key.
        """
