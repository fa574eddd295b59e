"""A receipt that was signed is read as it was; whatever else looks like one is refused with a line that says why."""

from __future__ import annotations

import hashlib
import json

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.receipts import base64url
from services.common.receipts.claims import TOKEN_TYPE, ReceiptClaims
from services.common.receipts.signing import ReceiptSigner
from services.common.receipts.signing_keys import SigningKeys, SigningKeysError, new_key
from services.common.receipts.verifying import ReceiptError, read_public_keys, verify

KEY, OTHER = new_key(), new_key()
SIGNER = ReceiptSigner(SigningKeys([KEY, OTHER.public]))
KEYS = read_public_keys(SIGNER.key_set)
CLAIMS = ReceiptClaims(
    iat=1_798_761_600,
    request_id="req_0123456789abcdef0123456789abcdef",
    model="tiermesh-pro",
    unit_price=10,
    quantity=1,
    charged=10,
    outcome="completed",
    prompt_tokens=11,
    completion_tokens=2,
    request_sha256=hashlib.sha256(b"request").hexdigest(),
    answer_sha256=hashlib.sha256(b"answer").hexdigest(),
)
TOKEN = SIGNER.sign(CLAIMS)
CHARACTERS = st.text(max_size=60)
AMOUNTS = st.integers(0, 2**53)
BODY = json.loads(base64url.decode(TOKEN.split(".")[1]))


def token(header: object, body: object, signature: bytes = b"\0" * 64) -> str:
    parts = [json.dumps(header).encode(), json.dumps(body).encode(), signature]
    return ".".join(base64url.encode(part).decode() for part in parts)


@given(
    claims=st.builds(
        ReceiptClaims,
        iat=AMOUNTS,
        request_id=CHARACTERS,
        model=CHARACTERS,
        unit_price=AMOUNTS,
        quantity=AMOUNTS,
        charged=AMOUNTS,
        outcome=st.sampled_from(["completed", "empty", "failed"]),
        prompt_tokens=AMOUNTS,
        completion_tokens=AMOUNTS,
        request_sha256=CHARACTERS,
        answer_sha256=CHARACTERS,
        transaction=CHARACTERS,
    )
)
@settings(max_examples=50, deadline=None)
def test_what_was_signed_is_read_again(claims: ReceiptClaims) -> None:
    assert verify(SIGNER.sign(claims), KEYS) == claims


def test_a_receipt_without_a_transaction_says_nothing_of_one() -> None:
    assert "transaction" not in BODY
    assert not verify(TOKEN, KEYS).transaction


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_no_bit_can_be_changed(data: st.DataObject) -> None:
    changed = bytearray(TOKEN.encode())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ReceiptError):
        verify(changed.decode(errors="replace"), KEYS)


@given(text=st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
@settings(max_examples=100, deadline=None)
def test_anything_else_is_no_receipt(text: str) -> None:
    with pytest.raises(ReceiptError):
        verify(text, KEYS)


def test_the_last_character_has_no_spare_bits() -> None:
    """Four bits of it stand for nothing, and most libraries do not look at them."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = [character for character in alphabet if genuine(TOKEN[:-1] + character)]
    assert accepted == [TOKEN[-1]]


def genuine(text: str) -> bool:
    try:
        return verify(text, KEYS) == CLAIMS
    except ReceiptError:
        return False


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("", "no receipt"),
        ("a.b", "no receipt"),
        (TOKEN + ".a", "no receipt"),
        (TOKEN + "=", "no receipt"),
        (TOKEN.replace(".", " . "), "no receipt"),
        ("x" * 10_000, "no receipt"),
        (token([], {}), "no receipt"),
        (token({"alg": "none", "typ": TOKEN_TYPE, "kid": KEY.kid}, BODY, b""), "algorithm is 'none'"),
        (token({"alg": "HS256", "typ": TOKEN_TYPE, "kid": KEY.kid}, BODY), "algorithm is 'HS256'"),
        (token({"typ": TOKEN_TYPE, "kid": KEY.kid}, BODY), "algorithm is None"),
        (token({"alg": "EdDSA", "typ": "JWT", "kid": KEY.kid}, BODY), "its type is 'JWT'"),
        (token({"alg": "EdDSA", "typ": TOKEN_TYPE, "kid": "unknown"}, BODY), "'unknown', is not among the keys"),
        (token({"alg": "EdDSA", "typ": TOKEN_TYPE, "kid": []}, BODY), "is not among the keys"),
        (token({"alg": "EdDSA", "typ": TOKEN_TYPE}, BODY), "None, is not among the keys"),
        (token({"alg": "EdDSA", "typ": TOKEN_TYPE, "kid": KEY.kid}, BODY), "signature is wrong"),
        (token({"alg": "EdDSA", "typ": TOKEN_TYPE, "kid": KEY.kid}, BODY, b""), "signature is wrong"),
    ],
)
def test_each_forgery_is_refused_with_a_reason(wrong: str, message: str) -> None:
    with pytest.raises(ReceiptError, match=message):
        verify(wrong, KEYS)


def test_a_secret_that_everybody_knows_signs_nothing() -> None:
    """The public key as the secret of HS256, which fools a reader that lets the token choose the algorithm."""
    secret = base64url.decode(KEY.x)
    forged = jwt.encode(BODY, secret, algorithm="HS256", headers={"kid": KEY.kid, "typ": TOKEN_TYPE})
    with pytest.raises(ReceiptError, match="algorithm is 'HS256'"):
        verify(forged, KEYS)


def test_a_key_of_somebody_else_does_not_count() -> None:
    stranger = new_key()
    with pytest.raises(ReceiptError, match="is not among the keys"):
        verify(ReceiptSigner(SigningKeys([stranger])).sign(CLAIMS), KEYS)
    # Nor does it under the name of a known one.
    pretending = SigningKeys([type(stranger)(x=stranger.x, d=stranger.d, kid=KEY.kid)])
    with pytest.raises(ReceiptError, match="signature is wrong"):
        verify(ReceiptSigner(pretending).sign(CLAIMS), KEYS)


def test_a_receipt_of_another_form_is_told_from_a_forgery() -> None:
    private = KEY.private_key()
    other = jwt.encode({"model": "x"}, private, algorithm="EdDSA", headers={"kid": KEY.kid, "typ": TOKEN_TYPE})
    with pytest.raises(ReceiptError, match="is genuine, but cannot be read"):
        verify(other, KEYS)


def test_keys_change_without_a_gap() -> None:
    """The next key is known before it signs, and the one before it as long as somebody has its receipts."""
    one = SigningKeys([new_key()])
    two = one.with_next()
    three = two.retired()
    tokens = [ReceiptSigner(keys).sign(CLAIMS) for keys in (one, two, three)]
    assert [jwt.get_unverified_header(each)["kid"] for each in tokens] == [
        two.keys[0].kid,
        two.keys[0].kid,
        two.keys[1].kid,
    ]
    for each in tokens[1:]:
        for keys in (two, three):
            assert verify(each, read_public_keys(ReceiptSigner(keys).key_set)) == CLAIMS
    with pytest.raises(SigningKeysError, match="no next key"):
        three.retired()


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", '{"keys": 1}', '{"keys": [1]}', '{"keys": [{"crv": "Ed25519"}]}', "[" * 100_000),
        '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a"}]}',
    ],
    ids=range(9),
)
def test_what_is_no_key_set_is_refused(text: str) -> None:
    with pytest.raises(ReceiptError, match="no JSON Web Key Set"):
        read_public_keys(text)


def test_keys_for_other_purposes_are_left_out() -> None:
    listed = json.loads(SIGNER.key_set)["keys"]
    others = [{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}, {"kty": "oct", "kid": KEY.kid, "k": "AA"}]
    assert set(read_public_keys(json.dumps({"keys": [*others, *listed]}))) == {KEY.kid, OTHER.kid}
