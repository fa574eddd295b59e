"""What a signed receipt says, and where it stands in an answer."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import UNSET, Struct, UnsetType

# The header of a whole answer that holds its receipt; a file that is streamed has it as a trailer.
HEADER = "x-tiermesh-receipt"
# What the last line of a stream of events begins with; every reader of such streams skips comments.
COMMENT = b": tiermesh-receipt "
# The media type of the token (RFC 8725, 3.11), so that no other token that the key may sign is taken for a receipt.
TOKEN_TYPE = "tiermesh-receipt+jwt"  # noqa: S105 - the name of a format
# Ed25519 (RFC 8037).
ALGORITHM: Final = "EdDSA"

# What became of an answer that was sent: complete and paid, complete without any output, or broken off by the service.
Outcome = Literal["completed", "empty", "failed"]


class ReceiptClaims(Struct, frozen=True, kw_only=True):
    """The claims of one receipt. Amounts are credits, digests are hexadecimal."""

    # When it was signed, in seconds since the Unix epoch.
    iat: int
    # The `x-request-id` of the response.
    request_id: str
    model: str
    # The price of one unit, and how many units were asked for; charged are all or none.
    unit_price: int
    quantity: int
    charged: int
    outcome: Outcome
    prompt_tokens: int
    completion_tokens: int
    # SHA-256 of the body of the request, and of the answer up to the receipt.
    request_sha256: str
    answer_sha256: str
    # The transaction that paid for this one request, if a chain did.
    transaction: str | UnsetType = UNSET
