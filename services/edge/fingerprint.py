"""Says what made an answer, as OpenAI's `system_fingerprint`: when it changes, a seed may give another answer."""

from __future__ import annotations

import hashlib
from functools import cache

from services.common.version import VERSION


@cache
def system_fingerprint(model_id: str) -> str:
    """Returns a short name for this release of the service and a model of the catalog, of which there are few."""
    return "fp_" + hashlib.sha256(f"{VERSION}\n{model_id}".encode()).hexdigest()[:10]
