"""Keys are read from a set in the standard form, and what is wrong with them is said without showing them."""

from __future__ import annotations

import json
import traceback
from typing import Any

import msgspec
import pytest

from services.common.receipts.signing import ReceiptSigner
from services.common.receipts.signing_keys import (
    SigningKeys,
    SigningKeysError,
    new_key,
    read_signing_keys,
    thumbprint,
)

KEY = new_key()
FIELDS: dict[str, Any] = msgspec.to_builtins(KEY)


def key_set(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": keys})


def test_the_name_of_a_key_is_its_thumbprint() -> None:
    # The example of RFC 8037, appendix A.3.
    assert thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo") == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert KEY.kid == thumbprint(KEY.x)


def test_what_is_published_has_no_private_part() -> None:
    published = json.loads(ReceiptSigner(SigningKeys([KEY, new_key()])).key_set)
    assert [sorted(key) for key in published["keys"]] == [["alg", "crv", "kid", "kty", "use", "x"]] * 2


def test_keys_are_read_as_they_were_written() -> None:
    keys = SigningKeys([KEY.public, new_key(), new_key()])
    read = read_signing_keys(msgspec.json.encode(keys))
    assert read == keys
    assert read.signing == keys.keys[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "JSON Web Key Set"),
        ("{}", "JSON Web Key Set"),
        ("\ud800", "JSON Web Key Set"),
        (key_set({**FIELDS, "kty": "RSA"}), "JSON Web Key Set"),
        (key_set({**FIELDS, "alg": "HS256"}), "JSON Web Key Set"),
        (key_set({**FIELDS, "d": 1}), "JSON Web Key Set"),
        (key_set(FIELDS, FIELDS), "two keys have the same 'kid'"),
        (key_set({**FIELDS, "d": "AAAA"}), "private part"),
        (key_set({**FIELDS, "d": str(FIELDS["d"])[:-1]}), "private part"),
        (key_set({**FIELDS, "d": new_key().d}), "do not belong together"),
        (key_set({"x": "AAAA", "kid": "k", "kty": "OKP", "crv": "Ed25519"}), "no Ed25519 key"),
    ],
)
def test_wrong_keys_are_refused_and_not_repeated(text: str, message: str) -> None:
    with pytest.raises(SigningKeysError, match=message) as caught:
        read_signing_keys(text)
    # Nor is it in what a log would show of the error, its causes included.
    shown = [line for line in traceback.format_exception(caught.value) if not line.startswith("  File")]
    assert str(FIELDS["d"])[:10] not in "".join(shown)


def test_public_keys_alone_sign_nothing() -> None:
    with pytest.raises(SigningKeysError, match="none can sign"):
        ReceiptSigner(SigningKeys([KEY.public]))
