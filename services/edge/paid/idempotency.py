"""The header Idempotency-Key: the client's own name for a request, so that repeating it is charged at most once.

See docs/decisions/0007-idempotency-keys.md.
"""

from __future__ import annotations

import hashlib
import re

from multidict import CIMultiDictProxy

from services.edge.http.parsing import invalid

HEADER = "Idempotency-Key"

_KEY = re.compile(r"[ -~]{1,255}")


def idempotency_key(headers: CIMultiDictProxy[str], account_id: str) -> str:
    """Returns what billing keeps of the key, empty without the header; raises MeshError INVALID_REQUEST.

    It is a digest, because nobody knows what clients put into their keys; each account has digests of its own.
    """
    values = headers.getall(HEADER, ())
    if not values:
        return ""
    if len(values) > 1:
        raise invalid(HEADER, f"The header {HEADER} was sent {len(values)} times. Send it once.")
    if not _KEY.fullmatch(values[0]):
        raise invalid(HEADER, f"The header {HEADER} must be 1 to 255 printable ASCII characters, such as a UUID.")
    return hashlib.sha256(f"{account_id}\n{values[0]}".encode()).hexdigest()[:32]
