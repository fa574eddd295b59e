"""Signs transactions (EIP-1559) with a key that owns gas and nothing else."""

from __future__ import annotations

import re
from typing import NamedTuple

from services.common.ethereum import rlp
from services.common.ethereum.addresses import address_of, keccak, with_checksum
from services.common.extras import how_to_install
from services.common.settings import SettingsError

_KEY = re.compile(r"0x[0-9a-fA-F]{64}")
# The first byte of a transaction of EIP-1559.
_TYPE = b"\x02"


class Transaction(NamedTuple):
    """A call of a contract. Fees are in wei for each unit of gas."""

    chain_id: int
    nonce: int
    priority_fee: int
    most_fee: int
    gas: int
    to: str
    data: bytes


class Signed(NamedTuple):
    """A signed transaction; both are hexadecimal."""

    raw: str
    tx_hash: str


class GasKey:
    """The private key of the relayer. What it signs for others moves their tokens to whom they have signed for."""

    def __init__(self, private_key: str) -> None:
        """Raises SettingsError, without the text itself, for what is no private key."""
        if not _KEY.fullmatch(private_key):
            raise SettingsError("RELAYER_KEY must be a private key: 0x and 64 hexadecimal digits")
        try:
            # Only where payments runs are they installed.
            import coincurve
        except ImportError as error:
            raise SettingsError(f"payments needs further Python packages: {how_to_install('payments')}") from error
        try:
            self._key = coincurve.PrivateKey.from_hex(private_key[2:])
        except ValueError:
            raise SettingsError("RELAYER_KEY is out of the range of private keys") from None
        self.address = with_checksum(address_of(self._key.public_key.format(compressed=False)))

    def sign(self, transaction: Transaction) -> Signed:
        """Returns the transaction as nodes take it."""
        fields: list[rlp.Item] = [
            *(transaction.chain_id, transaction.nonce, transaction.priority_fee, transaction.most_fee),
            *(transaction.gas, bytes.fromhex(transaction.to[2:]), 0, transaction.data, []),
        ]
        signature = self._key.sign_recoverable(keccak(_TYPE + rlp.encode(fields)), hasher=None)
        numbers = signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        raw = _TYPE + rlp.encode([*fields, *numbers])
        return Signed("0x" + raw.hex(), "0x" + keccak(raw).hex())
