"""A thought comes back as one of the model's only if the model has thought exactly that, for this account."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import MeshError
from services.edge.messages.thoughts import ThoughtKey, ThoughtSigner

KEY = ThoughtKey("secret")
SIGNER = KEY.signer("acct_1", "tiermesh-pro")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=50)


@given(TEXTS)
def test_a_thought_is_known_again(thought: str) -> None:
    same = ThoughtKey("secret").signer("acct_1", "tiermesh-pro")
    assert same.read(thought, SIGNER.sign(thought), "x") == thought


@given(TEXTS, TEXTS)
def test_a_thought_that_was_changed_is_refused(thought: str, other: str) -> None:
    if thought == other:
        return
    with pytest.raises(MeshError) as caught:
        SIGNER.read(other, SIGNER.sign(thought), "messages[1].content[0]")
    assert caught.value.param == "messages[1].content[0].signature"
    assert "'messages[1].content[0].signature' is not the signature of this thought" in caught.value.message


@given(st.integers(13, 44), st.integers(1, 255))
def test_a_signature_that_was_changed_is_refused(at: int, change: int) -> None:
    content = bytearray(base64.b64decode(SIGNER.sign("hm")))
    content[at] ^= change
    with pytest.raises(MeshError):
        SIGNER.read("hm", base64.b64encode(content).decode(), "x")


@given(st.integers(13, 44))
def test_a_signature_that_was_cut_off_is_refused(size: int) -> None:
    content = base64.b64decode(SIGNER.sign("hm"))[:size]
    with pytest.raises(MeshError):
        SIGNER.read("hm", base64.b64encode(content).decode(), "x")


@pytest.mark.parametrize(
    "signer",
    [
        KEY.signer("acct_2", "tiermesh-pro"),
        KEY.signer("acct_1", "tiermesh-max"),
        # No two accounts and models run together to the same.
        KEY.signer("acct_1\0tiermesh", "pro"),
        ThoughtKey("other").signer("acct_1", "tiermesh-pro"),
        ThoughtKey("").signer("acct_1", "tiermesh-pro"),
    ],
)
def test_a_thought_of_another_origin_is_left_out(signer: ThoughtSigner) -> None:
    assert SIGNER.read("hm", signer.sign("hm"), "x") == ""


@given(st.none() | st.text(max_size=80) | st.binary(max_size=60).map(lambda some: base64.b64encode(some).decode()))
def test_whatever_else_stands_for_a_signature_leaves_the_thought_out(signature: str | None) -> None:
    assert SIGNER.read("hm", signature, "x") == ""


def test_without_a_setting_no_two_keys_are_the_same() -> None:
    first, second = (ThoughtKey("").signer("acct_1", "tiermesh-pro").sign("hm") for _ in range(2))
    assert first != second
