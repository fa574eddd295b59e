"""The message that a wallet signs to sign in, and who has signed it.

The form is that of EIP-4361, Sign-In with Ethereum: https://eips.ethereum.org/EIPS/eip-4361. Auth writes the whole
text from what it keeps of the challenge, and looks whose signature of exactly this text it gets. No message that a
browser sends has to be read.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from services.auth.sign_in.challenge import CHALLENGE_BYTES, LIFETIME, Challenge, Purpose
from services.common.errors import Code, MeshError
from services.common.ethereum.addresses import with_checksum
from services.common.ethereum.signatures import signer_of

# What people read above the address of their wallet. A signature for one is never good for another.
_STATEMENTS = {
    Purpose.WALLET_SIGN_IN: "Sign in to your account.",
    Purpose.WALLET_CONFIRM: "Confirm that it is you who is signed in.",
    Purpose.WALLET_ADD: "Let this wallet sign in to your account from now on.",
    Purpose.WALLET_SIGN_UP: "Open an account that this wallet signs in to.",
}
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NONCE = re.compile(rf"[0-9a-f]{{{2 * CHALLENGE_BYTES}}}")
_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}")
# Contracts that sign in place of a key send more.
_LONGER = re.compile(r"0x[0-9a-fA-F]{131,}")
_MOST_CHAIN_ID = 2**53 - 1


def read_address(address: str) -> str:
    """Returns an address in lower case; raises MeshError INVALID_REQUEST for what is none."""
    if not _ADDRESS.fullmatch(address):
        message = "The address of the wallet could not be read. Choose an Ethereum account in it and try again."
        raise MeshError(Code.INVALID_REQUEST, message, param="address")
    return address.lower()


def check_chain_id(chain_id: int) -> int:
    """Returns the number of a chain; raises MeshError INVALID_REQUEST for what is none."""
    if not 0 < chain_id <= _MOST_CHAIN_ID:
        raise MeshError(Code.INVALID_REQUEST, "The chain ID must be positive.", param="chain_id")
    return chain_id


def read_nonce(nonce: str) -> bytes:
    """Returns the challenge in a nonce; raises MeshError INVALID_REQUEST for what is none."""
    if not _NONCE.fullmatch(nonce):
        raise _unreadable("nonce")
    return bytes.fromhex(nonce)


def message_of(challenge: Challenge) -> str:
    """Returns what a wallet has to sign for a challenge."""
    return (
        f"{challenge.relying_party_id} wants you to sign in with your Ethereum account:\n"
        f"{with_checksum(challenge.wallet_address)}\n"
        "\n"
        f"{_STATEMENTS[challenge.purpose]}\n"
        "\n"
        f"URI: {challenge.origin}\n"
        "Version: 1\n"
        f"Chain ID: {challenge.chain_id}\n"
        f"Nonce: {challenge.challenge.hex()}\n"
        f"Issued At: {_time(challenge.expires_at_ms - round(LIFETIME * 1000))}\n"
        f"Expiration Time: {_time(challenge.expires_at_ms)}"
    )


def check_signature(challenge: Challenge, signature: str) -> None:
    """Checks that the wallet of a challenge that was taken has signed its message.

    Raises MeshError PERMISSION_DENIED, and INVALID_REQUEST for what is no signature of a key.
    """
    if _LONGER.fullmatch(signature):
        message = "This wallet is a contract, which cannot sign in here. Use a wallet with a key of its own."
        raise MeshError(Code.INVALID_REQUEST, message, param="signature")
    if not _SIGNATURE.fullmatch(signature):
        raise _unreadable("signature")
    try:
        signer = signer_of(message_of(challenge), bytes.fromhex(signature[2:]))
    except ValueError as error:
        raise _refusal() from error
    if signer != challenge.wallet_address:
        raise _refusal()


def _refusal() -> MeshError:
    message = "This is not the signature of this wallet for this page. Try again, or sign in in another way."
    return MeshError(Code.PERMISSION_DENIED, message)


def _unreadable(param: str) -> MeshError:
    message = "The response of the wallet could not be read. Reload the page and try again."
    return MeshError(Code.INVALID_REQUEST, message, param=param)


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
