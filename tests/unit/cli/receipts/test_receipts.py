"""The command says why a receipt is refused, and makes keys that change without a gap."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.cli.errors import CliError
from services.cli.receipts.key_file import add_key, local_receipt_keys, read_keys, retire_key
from services.cli.receipts.verification import check_receipt, in_one_line
from services.cli.state import StateDirectory
from services.common.receipts.claims import ReceiptClaims
from services.common.receipts.signing import ReceiptSigner
from services.common.receipts.signing_keys import SigningKeys, new_key

REQUEST, ANSWER = b'{"model": "m"}', b"data: [DONE]\n\n"
CLAIMS = ReceiptClaims(
    iat=1_798_761_600,
    request_id="req_1",
    model="tiermesh-image",
    unit_price=4,
    quantity=3,
    charged=12,
    outcome="completed",
    prompt_tokens=1100,
    completion_tokens=0,
    request_sha256=hashlib.sha256(REQUEST).hexdigest(),
    answer_sha256=hashlib.sha256(ANSWER).hexdigest(),
)
SIGNER = ReceiptSigner(SigningKeys([new_key()]))
TOKEN = SIGNER.sign(CLAIMS).encode()
STREAM = ANSWER + b": tiermesh-receipt " + TOKEN + b"\n\n"


def test_a_receipt_of_a_stream_is_for_what_came_before_it() -> None:
    assert check_receipt(STREAM, SIGNER.key_set, request=REQUEST, answer=STREAM) == CLAIMS
    assert check_receipt(TOKEN, SIGNER.key_set, request=None, answer=ANSWER) == CLAIMS


@pytest.mark.parametrize(
    ("text", "request_body", "answer", "message"),
    [
        (TOKEN[:-3] + b"AAA", None, None, "signature is wrong|has three parts"),
        (b"nonsense", None, None, "has three parts"),
        (ReceiptSigner(SigningKeys([new_key()])).sign(CLAIMS).encode(), None, None, "not among the keys"),
        (TOKEN, REQUEST + b" ", None, "for another request"),
        (TOKEN, REQUEST, ANSWER[:-1], "for another answer"),
        (TOKEN, REQUEST, b"data: more\n\n" + STREAM, "for another answer"),
    ],
)
def test_each_reason_is_one_line(text: bytes, request_body: bytes | None, answer: bytes | None, message: str) -> None:
    with pytest.raises(CliError, match=message) as caught:
        check_receipt(text, SIGNER.key_set, request=request_body, answer=answer)
    assert "\n" not in caught.value.message


def test_the_line_says_what_the_receipt_says() -> None:
    assert in_one_line(CLAIMS, request=False, answer=False) == (
        "Genuine: req_1 for tiermesh-image cost 12 credits (3 times 4), completed, 1,100 prompt and 0 answer tokens, "
        "signed 2027-01-01 00:00:00 UTC."
    )
    paid = in_one_line(replace(CLAIMS, transaction="0xab"), request=True, answer=False)
    assert paid.endswith(" UTC, transaction 0xab; it is for the request given.")


def test_keys_are_added_and_retired(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first = add_key(path).signing
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CliError, match="no next key could sign"):
        retire_key(path)
    assert add_key(path).signing == first
    second = retire_key(path).signing
    assert first is not None
    assert second is not None
    assert read_keys(path).keys == [first.public, second]


def test_a_local_mesh_keeps_its_keys(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    state.create()
    keys = local_receipt_keys(state)
    assert local_receipt_keys(state) == keys
    assert state.receipt_keys.stat().st_mode & 0o777 == 0o600
    state.receipt_keys.write_text("{}")
    with pytest.raises(CliError, match="is no file of keys"):
        local_receipt_keys(state)
    state.receipt_keys.unlink()
    assert local_receipt_keys(state) != keys


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="Cannot read"):
        read_keys(tmp_path / "missing")
    with pytest.raises(CliError, match="Cannot write"):
        add_key(tmp_path / "missing" / "keys.json")
