"""Addresses of keys, and how they are written (EIP-55). It needs the extra `payments`."""

from __future__ import annotations


def keccak(data: bytes) -> bytes:
    """Returns the hash that EVM chains use for everything."""
    # Only where payments runs is it installed.
    from eth_hash.auto import keccak as digest

    return bytes(digest(data))


def address_of(public_key: bytes) -> str:
    """Returns the address, with its checksum, of an uncompressed public key of 65 bytes."""
    return with_checksum("0x" + keccak(public_key[1:])[12:].hex())


def with_checksum(address: str) -> str:
    """Returns an address as people should see it: its upper-case letters are a checksum (EIP-55)."""
    digits = address[2:].lower()
    digest = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(weight, 16) >= 8 else digit for digit, weight in zip(digits, digest, strict=False)
    )
