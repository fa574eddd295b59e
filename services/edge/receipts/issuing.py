"""Issues signed receipts: one for each paid answer, about exactly the bytes that are sent.

Nothing of it is kept: the digests exist while the answer is sent, and the receipt goes to the client alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from msgspec import UNSET, Struct, UnsetType

from services.common.clock import Clock
from services.common.receipts.claims import COMMENT, HEADER, Outcome, ReceiptClaims


class Purchase(Struct, frozen=True, kw_only=True):
    """What is known of a paid request before its answer; amounts are credits."""

    request_id: str
    model: str
    unit_price: int
    quantity: int
    # SHA-256 of its body, in hexadecimal.
    request_sha256: str


class ReceiptIssuer:
    """Begins a receipt for each answer.

    `sign` makes the token out of its claims, `key_set` is the JSON Web Key Set that the tokens can be checked with, and
    `clock` gives seconds since the Unix epoch.
    """

    def __init__(self, sign: Callable[[ReceiptClaims], str], key_set: bytes, clock: Clock) -> None:
        self.key_set = key_set
        self._sign = sign
        self._clock = clock

    def begin(self, purchase: Purchase) -> OpenReceipt:
        """Returns the receipt of an answer of which nothing was sent yet."""
        return OpenReceipt(purchase, self._sign, self._clock)


class OpenReceipt:
    """The receipt of one answer that is being sent: that of a failure until it is settled."""

    def __init__(self, purchase: Purchase, sign: Callable[[ReceiptClaims], str], clock: Clock) -> None:
        self._purchase = purchase
        self._sign = sign
        self._clock = clock
        # The transaction that has paid for this request alone, for the part that settles on a chain to say.
        self.transaction: str | UnsetType = UNSET
        self._digest = hashlib.sha256()
        # Takes the next bytes of the answer; the method of the digest itself, because it is called at every write.
        self.take = self._digest.update
        self.fail()

    def settle(self, outcome: Outcome, charged: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Notes what billing has made durable."""
        self._outcome: Outcome = outcome
        self._charged = charged
        self._prompt_tokens = prompt_tokens
        self._completion_tokens = completion_tokens

    def fail(self) -> None:
        """Notes that the answer could not be finished, which is free."""
        self.settle("failed", 0, 0, 0)

    def header(self, answer: bytes) -> dict[str, str]:
        """Returns the header that a whole answer carries."""
        self.take(answer)
        return {HEADER: self.token()}

    def comment(self, last: bytes) -> bytes:
        """Returns what ends a stream of events after its last bytes: a comment, which no reader of events sees."""
        self.take(last)
        return COMMENT + self.token().encode() + b"\n\n"

    def token(self) -> str:
        """Returns the signed receipt of all bytes that were taken."""
        purchase = self._purchase
        return self._sign(
            ReceiptClaims(
                iat=int(self._clock()),
                request_id=purchase.request_id,
                model=purchase.model,
                unit_price=purchase.unit_price,
                quantity=purchase.quantity,
                charged=self._charged,
                outcome=self._outcome,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self._completion_tokens,
                request_sha256=purchase.request_sha256,
                answer_sha256=self._digest.hexdigest(),
                transaction=self.transaction,
            )
        )
