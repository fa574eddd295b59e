"""Checks a receipt, and whether it is about a given request and answer."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from services.cli.errors import CliError
from services.common.receipts.claims import ReceiptClaims
from services.common.receipts.finding import covered, find_token
from services.common.receipts.verifying import ReceiptError, read_public_keys, verify


def check_receipt(text: bytes, keys: bytes, *, request: bytes | None, answer: bytes | None) -> ReceiptClaims:
    """Returns what the receipt in a text says; raises CliError unless it is genuine and about what is given."""
    try:
        claims = verify(find_token(text), read_public_keys(keys))
    except ReceiptError as error:
        raise CliError(str(error)) from None
    if request is not None and _digest(request) != claims.request_sha256:
        raise CliError(
            "The receipt is genuine, but it is for another request: the digest of the body differs. "
            "Compare the body exactly as it was sent, without its compression."
        )
    if answer is not None and _digest(covered(answer)) != claims.answer_sha256:
        raise CliError(
            "The receipt is genuine, but it is for another answer: the digest of the body differs. "
            "Compare the body exactly as it came, without its compression."
        )
    return claims


def in_one_line(claims: ReceiptClaims, *, request: bool, answer: bool) -> str:
    """Returns what the receipt says, and what it was compared with."""
    signed = datetime.fromtimestamp(claims.iat, UTC)
    price = f"{claims.quantity} times {claims.unit_price}" if claims.quantity > 1 else f"price {claims.unit_price}"
    compared = " and ".join(name for name, given in (("request", request), ("answer", answer)) if given)
    return (
        f"Genuine: {claims.request_id} for {claims.model} cost {claims.charged:,} credits ({price}), "
        f"{claims.outcome}, {claims.prompt_tokens:,} prompt and {claims.completion_tokens:,} answer tokens, "
        f"signed {signed:%Y-%m-%d %H:%M:%S} UTC"
        + (f", transaction {claims.transaction}" if claims.transaction else "")
        + (f"; it is for the {compared} given." if compared else ".")
    )


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
