"""Deposit addresses from an extended public key (BIP-32). Nothing here can spend."""

from __future__ import annotations

import hashlib

from services.common.ethereum.addresses import address_of, with_checksum
from services.common.extras import how_to_install
from services.common.settings import SettingsError

# The first bytes of an extended private key say that it is one, on every network of Bitcoin's heirs.
_PRIVATE = "prv"


class DepositKey:
    """The public half of the key that owns all deposit addresses."""

    def __init__(self, xpub: str) -> None:
        """Raises SettingsError, without the text itself, for what is no extended public key."""
        if xpub[1:4] == _PRIVATE:
            raise SettingsError(
                "XPUB is an extended private key. Keep it off this machine, and give the public key (xpub) that "
                "belongs to it. Move what its addresses hold, because the key is not secret any more"
            )
        try:
            # Only where payments runs are they installed.
            import coincurve
            from bip32 import BIP32
        except ImportError as error:
            raise SettingsError(f"payments needs further Python packages: {how_to_install('payments')}") from error
        self._point = coincurve.PublicKey
        try:
            self._parent = BIP32.from_xpub(xpub)
        except Exception as error:  # noqa: BLE001 - the library raises many kinds, some with the text.
            raise SettingsError(f"XPUB is not an extended public key ({type(error).__name__})") from None
        # What billing calls the key.
        self.id = hashlib.sha256(xpub.encode()).hexdigest()[:16]

    def address(self, index: int) -> str:
        """Returns the address at an index, below 2^31, with its checksum."""
        point = self._point(self._parent.get_pubkey_from_path([index])).format(compressed=False)
        return with_checksum(address_of(point))
