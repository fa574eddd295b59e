"""Addresses of Ethereum, and the hash that they are made by."""

from __future__ import annotations


def keccak(data: bytes) -> bytes:
    """Returns the hash that Ethereum uses everywhere, which is not that of the later standard SHA-3."""
    from eth_hash.auto import keccak

    return bytes(keccak(data))


def address_of(public_key: bytes) -> str:
    """Returns the address of an uncompressed public key of 65 bytes, in lower case."""
    return "0x" + keccak(public_key[1:])[12:].hex()


def with_checksum(address: str) -> str:
    """Returns an address as people should see it: its upper-case letters are a checksum (EIP-55)."""
    digits = address[2:].lower()
    digest = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(weight, 16) >= 8 else digit for digit, weight in zip(digits, digest, strict=False)
    )
