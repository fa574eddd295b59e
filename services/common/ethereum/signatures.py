"""Signatures by wallets, and who made them."""

from __future__ import annotations

from importlib.util import find_spec

from services.common.ethereum.addresses import address_of, keccak

# What this needs, and addresses too.
_LIBRARIES = ("coincurve", "eth_hash")
# Its name, for advice on how to install them.
EXTRA = "payments"
_SIGNATURE_BYTES = 65
# What wallets put before a text, so that it is never a transaction (EIP-191).
_PREFIX = b"\x19Ethereum Signed Message:\n"


def installed() -> bool:
    """Whether the libraries are there."""
    return all(find_spec(name) is not None for name in _LIBRARIES)


def signer_of(text: str, signature: bytes) -> str:
    """Returns the address whose key has signed a text by `personal_sign` (EIP-191), in lower case.

    Any 65 bytes are somebody's signature of any text, so the caller compares. Raises ValueError for what is none.
    """
    data = text.encode()
    return signer_of_digest(keccak(_PREFIX + str(len(data)).encode() + data), signature)


def signer_of_digest(digest: bytes, signature: bytes) -> str:
    """Returns the address whose key has signed a hash of 32 bytes, in lower case; otherwise as `signer_of`."""
    import coincurve

    if len(signature) != _SIGNATURE_BYTES or signature[64] not in {0, 1, 27, 28}:
        raise ValueError("no signature of 65 bytes with a recovery number at its end")
    recoverable = signature[:64] + bytes([signature[64] % 27])
    try:
        key = coincurve.PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except Exception as error:
        # The library raises several kinds for numbers that no signature has.
        raise ValueError("no signature") from error
    return address_of(key.format(compressed=False))
