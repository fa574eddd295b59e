"""Keys without a secret: what a passkey or a recovery code stands on.

Nobody can send such a key, because its digest is that of nothing. Otherwise it is a key like any other: it has rights
and limits, makes keys and revokes them, its sessions end with it, and a list of the keys shows it.
"""

from __future__ import annotations

from dataclasses import replace

from services.auth.keys import ApiKey
from services.auth.labels import RandomBytes, new_id
from services.common.errors import Code, MeshError
from services.common.scopes import ENDPOINTS

_DIGEST_BYTES = 32


def first_key(account_id: str, hint: str, requests_per_minute: int, now_ms: int, random: RandomBytes) -> ApiKey:
    """Returns the first key of a new account, with every scope."""
    return ApiKey(
        id=new_id("key", random),
        account_id=account_id,
        name="",
        hint=hint,
        digest=random(_DIGEST_BYTES),
        requests_per_minute=requests_per_minute,
        created_at_ms=now_ms,
        endpoints=ENDPOINTS,
    )


def beside(key: ApiKey, hint: str, name: str, now_ms: int, random: RandomBytes) -> ApiKey:
    """Returns a key with the rights of another one, which counts under the same id, as a rotation of it would.

    So it adds no right, and the limits bind both together. Raises MeshError CONFLICT if the other one was rotated: it
    is about to end, and this one would end with it.
    """
    if key.replaced_by:
        message = "The key that signed in was rotated and will stop working. Sign in with its successor first."
        raise MeshError(Code.CONFLICT, message)
    return replace(
        key,
        id=new_id("key", random),
        name=name,
        hint=hint,
        digest=random(_DIGEST_BYTES),
        created_at_ms=now_ms,
        revoked_at_ms=0,
        last_used_at_ms=0,
        created_by=key.id,
        origin=key.counted_as,
    )
