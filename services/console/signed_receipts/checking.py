"""Checks a pasted receipt with the keys that the API publishes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from services.common.receipts.claims import ReceiptClaims
from services.common.receipts.finding import find_token
from services.console.playground.edge import Edge

# Whether the packages are there that check receipts.
INSTALLED = all(find_spec(package) is not None for package in ("cryptography", "jwt"))


class Checked(NamedTuple):
    """What came of a check: what a genuine receipt says, or why it is refused."""

    claims: ReceiptClaims | None = None
    problem: str = ""


class ReceiptCheck:
    """Checks receipts by the keys of the API at `edge`."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def check(self, text: str) -> Checked:
        """Checks the receipt in a text; raises MeshError UNAVAILABLE if the keys cannot be fetched."""
        # The packages are an extra.
        from services.common.receipts.verifying import ReceiptError, read_public_keys, verify

        keys = await self._edge.receipt_keys()
        if keys is None:
            return Checked(problem="This service does not sign receipts.")
        try:
            return Checked(verify(find_token(text.encode()), read_public_keys(keys)))
        except ReceiptError as error:
            return Checked(problem=str(error))
