"""Which Idempotency-Key headers are taken, and what is kept of them."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from services.common.errors import Code, MeshError
from services.edge.paid.idempotency import idempotency_key


def key_of(*values: str, account_id: str = "acct_1") -> str:
    headers = CIMultiDict([("idempotency-key", value) for value in values])
    return idempotency_key(CIMultiDictProxy(headers), account_id)


def test_without_the_header_there_is_no_key() -> None:
    assert key_of() == ""


@pytest.mark.parametrize("value", ["k", "k" * 255, "order 17 ~ !"])
def test_what_is_kept_is_a_digest_of_the_account_s_own(value: str) -> None:
    digest = key_of(value)
    assert len(digest) == 32
    assert value not in digest or len(value) == 1
    assert digest == key_of(value)
    assert digest != key_of(value, account_id="acct_2")
    assert digest != key_of(value[:-1] + "x")


@pytest.mark.parametrize("values", [("",), ("k" * 256,), ("schlüssel",), ("a\tb",), ("\udc80",), ("a", "a")])
def test_what_is_no_key_is_refused(values: tuple[str, ...]) -> None:
    with pytest.raises(MeshError) as raised:
        key_of(*values)
    assert (raised.value.code, raised.value.param) == (Code.INVALID_REQUEST, "Idempotency-Key")
