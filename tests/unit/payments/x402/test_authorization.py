"""What a wallet signs, compared with what Ethereum's own library for Python signs."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from services.common.errors import Code, MeshError
from services.payments.x402.authorization import Authorization, AuthorizationCheck, domain_separator

NOW = 1_800_000_000.0
ATOMIC = 100_000
PAY_TO = "0x" + "77" * 20
TOKEN = "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
WALLET = Account.from_key("0x" + "5a" * 32)
OTHER = Account.from_key("0x" + "6b" * 32)
_FIELDS = [("from", "address"), ("to", "address"), ("value", "uint256"), ("validAfter", "uint256")]
_FIELDS += [("validBefore", "uint256"), ("nonce", "bytes32")]


def signed(*, signer: Any = WALLET, chain_id: int = 8453, **changes: Any) -> Authorization:
    """Returns an authorization that was signed with changes."""
    usual = {"payer": WALLET.address.lower(), "pay_to": PAY_TO, "atomic": ATOMIC, "valid_after": int(NOW) - 600}
    fields: dict[str, Any] = {**usual, "valid_before": int(NOW) + 600, "nonce": "0x" + "0c" * 32, **changes}
    domain = {"name": "USD Coin", "version": "2", "chainId": chain_id, "verifyingContract": TOKEN}
    types = {"TransferWithAuthorization": [{"name": name, "type": kind} for name, kind in _FIELDS]}
    values = dict(zip((name for name, _ in _FIELDS), fields.values(), strict=True))
    values["nonce"] = bytes.fromhex(fields["nonce"][2:])
    message = encode_typed_data(domain, types, values)
    return Authorization(**fields, signature=bytes(signer.sign_message(message).signature))


@pytest.fixture
def check() -> AuthorizationCheck:
    return AuthorizationCheck(
        domain_separator("USD Coin", "2", 8453, TOKEN), PAY_TO.upper().replace("X", "x"), lambda: NOW, least_seconds=30
    )


def test_what_a_wallet_has_signed_pays(check: AuthorizationCheck) -> None:
    given = signed()
    check.check(given, ATOMIC)
    # Some libraries number the parity from 0 on.
    check.check(given._replace(signature=given.signature[:64] + bytes([given.signature[64] - 27])), ATOMIC)


_S = slice(32, 64)
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def mirrored(given: Authorization) -> Authorization:
    """Returns the other signature that belongs to the same key and message."""
    s = _ORDER - int.from_bytes(given.signature[_S], "big")
    return given._replace(signature=given.signature[:32] + s.to_bytes(32, "big") + bytes([55 - given.signature[64]]))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (signed(pay_to="0x" + "78" * 20), "to another address"),
        (signed(atomic=ATOMIC - 1), "of another amount"),
        (signed(atomic=ATOMIC + 1), "of another amount"),
        (signed(valid_after=int(NOW) + 5), "not valid yet"),
        (signed(valid_before=int(NOW) + 29), "30 seconds more"),
        (signed(valid_before=int(NOW) - 1), "30 seconds more"),
        (signed(valid_before=int(NOW) + 100_000), "more than a day"),
        (signed(signer=OTHER), "not signed by its payer"),
        (signed(chain_id=1), "not signed by its payer"),
        (signed()._replace(nonce="0x" + "0d" * 32), "not signed by its payer"),
        (signed()._replace(valid_before=int(NOW) + 601), "not signed by its payer"),
        (signed()._replace(payer=OTHER.address.lower()), "not signed by its payer"),
        (signed()._replace(signature=b"\x11" * 65), "not signed by its payer"),
        (signed()._replace(signature=b"\x00" * 65), "not signed by its payer"),
        (signed()._replace(signature=signed().signature[:64] + b"\x63"), "not signed by its payer"),
        (mirrored(signed()), "not signed by its payer"),
        (signed()._replace(signature=b""), "another length than 65 bytes"),
        (signed()._replace(signature=b"\x11" * 300), "another length than 65 bytes"),
        (signed()._replace(nonce="0x12"), "malformed"),
        (signed()._replace(payer="somebody"), "malformed"),
        (signed()._replace(valid_after=-1), "malformed"),
    ],
)
def test_what_differs_does_not_pay_and_says_why(check: AuthorizationCheck, given: Authorization, reason: str) -> None:
    with pytest.raises(MeshError, match=reason) as caught:
        check.check(given, ATOMIC)
    assert caught.value.code is Code.INSUFFICIENT_CREDITS
