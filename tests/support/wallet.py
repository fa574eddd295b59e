"""An Ethereum wallet in software: it signs what it is asked to, as personal_sign does (EIP-191)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import coincurve

from services.common.ethereum.addresses import address_of, keccak, with_checksum


@dataclass
class SoftwareWallet:
    """A wallet with one key, its own unless a test gives another one."""

    secret: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    @property
    def address(self) -> str:
        """Its address, with the checksum."""
        return with_checksum(address_of(coincurve.PrivateKey(self.secret).public_key.format(compressed=False)))

    def sign(self, text: str) -> str:
        """Returns its signature of a text."""
        data = text.encode()
        digest = keccak(f"\x19Ethereum Signed Message:\n{len(data)}".encode() + data)
        signature: bytes = coincurve.PrivateKey(self.secret).sign_recoverable(digest, hasher=None)
        return "0x" + (signature[:64] + bytes([27 + signature[64]])).hex()
