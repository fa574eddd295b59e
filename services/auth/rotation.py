"""Rotation: a new key with the same settings, and an old one that goes on working for a while."""

from __future__ import annotations

from dataclasses import replace

from services.auth.keys import ApiKey
from services.common.errors import Code, MeshError

# Long enough to change the key wherever it is used, within a working day of any time zone.
DEFAULT_OVERLAP_SECONDS = 24 * 3600


def check_rotation(key: ApiKey, now_ms: int) -> None:
    """Raises MeshError CONFLICT unless a key works and was not rotated: each key has one successor."""
    if not key.works(now_ms):
        state = "was revoked" if key.revoked_at_ms else "has expired"
        raise MeshError(Code.CONFLICT, f"The key {state}; create a new one instead.", param="key_id")
    if key.replaced_by:
        message = f"The key was rotated before; its successor is {key.replaced_by}. Rotate that, or revoke this one."
        raise MeshError(Code.CONFLICT, message, param="key_id")


def with_overlap(old: ApiKey, now_ms: int, overlap_seconds: int) -> ApiKey:
    """Returns the old key with the end of the overlap as its expiry, unless it expires sooner anyway."""
    end_ms = now_ms + overlap_seconds * 1000
    return replace(old, expires_at_ms=min(old.expires_at_ms or end_ms, end_ms))
