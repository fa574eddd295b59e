from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.keys import MAX_KEY_LENGTH, check_expiry, digest_of, hint_of, new_secret
from services.common.errors import Code, MeshError


def test_a_key_says_whose_service_it_is_for_and_is_otherwise_random() -> None:
    secret = new_secret("tiermesh")
    assert re.fullmatch(r"sk-tiermesh-[0-9A-Za-z]{43}", secret)
    assert len(secret) <= MAX_KEY_LENGTH
    assert new_secret("tiermesh") != secret


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_no_randomness_is_lost(one: bytes, other: bytes) -> None:
    secrets = new_secret("x", lambda _: one), new_secret("x", lambda _: other)
    assert (secrets[0] == secrets[1]) == (one == other)


def test_all_256_bits_fit() -> None:
    assert len(new_secret("x", lambda count: b"\xff" * count)) == len("sk-x-") + 43


def test_the_digest_is_sha_256() -> None:
    assert digest_of("sk-x-1") == hashlib.sha256(b"sk-x-1").digest()


def test_the_hint_shows_four_random_characters() -> None:
    assert hint_of("sk-tiermesh-abcdefgh") == "sk-tiermesh-abcd"


def test_an_expiry_lies_in_the_future_or_is_never() -> None:
    check_expiry(0, now_ms=1000)
    check_expiry(1001, now_ms=1000)
    for past in (1000, 1, -1):
        with pytest.raises(MeshError) as caught:
            check_expiry(past, now_ms=1000)
        assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, "expires_at_ms")
