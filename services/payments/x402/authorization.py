"""What a wallet signs: an authorization to transfer tokens (EIP-3009), checked without a chain."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from services.common.errors import Code, MeshError
from services.common.ethereum.addresses import keccak
from services.common.ethereum.signatures import signer_of_digest
from services.payments.chain.settlement_node import encode_words

# `transferWithAuthorization` with the signature in three parts.
_TRANSFER = "0xe3ee160e"
_ADDRESS, _NONCE = re.compile(r"0x[0-9a-f]{40}"), re.compile(r"0x[0-9a-f]{64}")
_SIGNATURE_BYTES = 65
# The order of the curve.
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_TRANSFER_TYPE = (
    b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
    b"bytes32 nonce)"
)
# Nothing is remembered for ever, so nothing may be valid for ever. In seconds.
_MOST_SECONDS = 86_400


class Authorization(NamedTuple):
    """An authorization; addresses and nonce are in lower case, times in seconds since the Unix epoch."""

    payer: str
    pay_to: str
    # In the token's smallest unit.
    atomic: int
    valid_after: int
    valid_before: int
    nonce: str
    signature: bytes

    def call(self) -> str:
        """Returns the data of the call that settles it."""
        signature = self.signature
        return encode_words(
            _TRANSFER,
            [
                *(self.payer, self.pay_to, self.atomic, self.valid_after, self.valid_before, self.nonce),
                *(signature[64] % 27 + 27, signature[:32].hex(), signature[32:64].hex()),
            ],
        )


def domain_separator(name: str, version: str, chain_id: int, token: str) -> bytes:
    """Returns what makes signatures for a token different from those for any other (EIP-712)."""
    words = keccak(_DOMAIN_TYPE) + keccak(name.encode()) + keccak(version.encode())
    return keccak(words + chain_id.to_bytes(32, "big") + int(token, 16).to_bytes(32, "big"))


class AuthorizationCheck:
    """Tells whether an authorization pays, as far as that can be told without the chain; `clock` is Unix time."""

    def __init__(self, domain: bytes, pay_to: str, clock: Callable[[], float], *, least_seconds: float) -> None:
        """`least_seconds` is how long an authorization must stay valid, so that it can be settled."""
        self._domain = domain
        self._pay_to = pay_to.lower()
        self._clock = clock
        self._least_seconds = least_seconds

    def check(self, given: Authorization, atomic: int) -> None:
        """Raises MeshError INSUFFICIENT_CREDITS, which says why, unless it pays exactly `atomic`."""
        names = _ADDRESS.fullmatch(given.payer) and _ADDRESS.fullmatch(given.pay_to) and _NONCE.fullmatch(given.nonce)
        if not names or given.valid_after < 0:
            raise not_paid("has a malformed address, nonce or time. Sign these terms")
        if given.pay_to != self._pay_to:
            raise not_paid("is to another address. Sign these terms")
        if given.atomic != atomic:
            raise not_paid("is of another amount. Sign these terms")
        self._check_times(given)
        if self._signer(given) != given.payer:
            raise not_paid("is not signed by its payer for this token and chain. Sign it with the wallet that pays")

    def _check_times(self, given: Authorization) -> None:
        now = self._clock()
        if given.valid_after > now:
            raise not_paid("is not valid yet. Sign one that is valid now")
        if given.valid_before < now + self._least_seconds:
            raise not_paid(f"is not valid for {self._least_seconds:.0f} seconds more. Sign one that lasts longer")
        if given.valid_before > now + _MOST_SECONDS:
            raise not_paid("is valid for more than a day. Sign one that lasts as long as the terms say")

    def _signer(self, given: Authorization) -> str:
        if len(given.signature) != _SIGNATURE_BYTES:
            raise not_paid("has a signature of another length than 65 bytes. Only keys can sign it, not contracts")
        numbers = (given.atomic, given.valid_after, given.valid_before)
        words = [keccak(_TRANSFER_TYPE), *(int(each, 16).to_bytes(32, "big") for each in (given.payer, given.pay_to))]
        words += [number.to_bytes(32, "big") for number in numbers] + [bytes.fromhex(given.nonce[2:])]
        digest = keccak(b"\x19\x01" + self._domain + keccak(b"".join(words)))
        # The token refuses the mirrored signature as well.
        if int.from_bytes(given.signature[32:64], "big") > _ORDER // 2:
            return ""
        try:
            return signer_of_digest(digest, given.signature)
        except ValueError:
            return ""


def not_paid(problem: str) -> MeshError:
    """The payment does not pay; whoever asked gets the terms again."""
    return MeshError(Code.INSUFFICIENT_CREDITS, f"The payment {problem}.")
