"""Transfers of a token that anybody may send (EIP-3009). The tokens can go only where the signature says."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec

from services.cli.chain.abi import call_data
from services.cli.chain.wallet import SigningKey
from services.common.ethereum.addresses import keccak

Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{40}$")]
Hash = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_TRANSFER = (
    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
    "bytes32 nonce)"
)
_TRANSFER_CALL = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)"


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature is valid for, as the token says it (EIP-712)."""

    chain_id: Annotated[int, msgspec.Meta(gt=0)]
    token: Address
    name: str
    version: str


class Transfer(NamedTuple):
    """What is signed: so many smallest units. A token takes each nonce of a sender once."""

    sender: str
    receiver: str
    atomic: int
    # Unix time.
    valid_before: int
    nonce: str


class Signature(NamedTuple):
    """The signature of a transfer."""

    v: int
    r: str
    s: str


class SignedTransfer(NamedTuple):
    """What can be sent. Nobody can make anything else of it, or send it twice."""

    transfer: Transfer
    signature: Signature

    @property
    def call(self) -> str:
        """The data of the call that moves the tokens."""
        sender, receiver, atomic, valid_before, nonce = self.transfer
        words = (int(sender, 16), int(receiver, 16), atomic, 0, valid_before)
        v, r, s = self.signature
        return call_data(_TRANSFER_CALL, *words, int(nonce, 16), v, int(r, 16), int(s, 16))


def sign(domain: Domain, transfer: Transfer, key: SigningKey) -> Signature:
    """Signs a transfer with the key of its sender."""
    parity, r, s = key.sign(digest(domain, transfer))
    return Signature(28 if parity else 27, f"0x{r:064x}", f"0x{s:064x}")


def digest(domain: Domain, transfer: Transfer) -> bytes:
    """Returns the hash that is signed (EIP-712)."""
    separator = keccak(
        keccak(_DOMAIN.encode())
        + keccak(domain.name.encode())
        + keccak(domain.version.encode())
        + _words(domain.chain_id, int(domain.token, 16))
    )
    sender, receiver, atomic, valid_before, nonce = transfer
    moved = keccak(
        keccak(_TRANSFER.encode()) + _words(int(sender, 16), int(receiver, 16), atomic, 0, valid_before, int(nonce, 16))
    )
    return keccak(b"\x19\x01" + separator + moved)


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(32, "big") for value in values)
