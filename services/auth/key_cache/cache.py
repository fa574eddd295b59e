"""Verifies keys from memory: every key is held by its digest, so no request waits for the database.

Keys that do not work any more are held for a while, so that their owners are told what happened; then they are pruned.

The cache is filled at start and told of every change by `put`, also of those that other replicas made: in any order
and as often as one likes, since changes are numbered and revocation is final.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from services.auth.key_cache.credential import Credential, credential_of
from services.auth.key_cache.records import KeyRecords
from services.auth.keys import MAX_KEY_LENGTH, ApiKey, digest_of, hint_of
from services.common.errors import Code, MeshError

_MISSING = (
    "You did not provide an API key. Send it in the Authorization header, as in 'Authorization: Bearer YOUR_KEY'."
)
# Nothing of the presented text is repeated: it may be someone's key with a slip in it, or a key of another service.
_UNKNOWN = (
    "Incorrect API key provided. Check that the whole key was copied and that it was made for this service. "
    "A lost key cannot be shown again; create a new one."
)


# So many credentials are kept ready, beside the records: those of the keys that are in use.
_MOST_READY = 10_000


class KeyCache:
    """Every key by its digest."""

    def __init__(self) -> None:
        self._records = KeyRecords()
        self._ready: dict[bytes, Credential] = {}
        self._load: KeyLoad | None = None

    def __len__(self) -> int:
        return len(self._records)

    def load(self, keys: Iterable[ApiKey]) -> None:
        """Takes in the keys that the store holds, and forgets any others. Revoked ones stay so whatever it says."""
        load = self.begin_load()
        load.add(keys)
        load.finish()

    def begin_load(self) -> KeyLoad:
        """Begins to take in the keys that the store holds, some at a time. Until it is finished, nothing changes."""
        self._load = KeyLoad(self._records, self._finish)
        return self._load

    def _finish(self, records: KeyRecords) -> None:
        self._records, self._load = records, None
        self._ready.clear()

    def put(self, key: ApiKey) -> None:
        """Takes in a new or changed key; it holds for the very next verification. Old news changes nothing."""
        _put(self._records, key)
        self._ready.pop(key.digest, None)
        if self._load is not None:
            self._load.add((key,))

    async def prune(self, before_ms: int) -> None:
        """Drops the keys that were revoked or expired at that time or before, while requests go on."""
        for _ in self._records.prune(before_ms):
            await asyncio.sleep(0)
        self._ready.clear()

    def verify(self, secret: str, now_ms: int) -> Credential:
        """Returns whose key `secret` is. Raises MeshError UNAUTHENTICATED, with what to do about it.

        For a key that works, of an account that is suspended or closed, this is PERMISSION_DENIED.
        """
        if not secret:
            raise MeshError(Code.UNAUTHENTICATED, _MISSING)
        if len(secret) > MAX_KEY_LENGTH:
            raise MeshError(Code.UNAUTHENTICATED, _UNKNOWN)
        digest = digest_of(secret)
        credential = self._ready.get(digest) or self._make_ready(digest)
        # The time that a search takes tells at most something about a digest, which nobody can steer or invert; the
        # comparison that decides is constant-time all the same.
        if credential is None or not hmac.compare_digest(credential.digest, digest):
            raise MeshError(Code.UNAUTHENTICATED, _UNKNOWN)
        if credential.revoked_at_ms:
            message = f"The API key {hint_of(secret)}… was revoked. Create a new key and use that."
            raise MeshError(Code.UNAUTHENTICATED, message)
        if 0 < credential.expires_at_ms <= now_ms:
            raise MeshError(Code.UNAUTHENTICATED, _expired(hint_of(secret), credential.expires_at_ms))
        if credential.refusal:
            raise MeshError(Code.PERMISSION_DENIED, credential.refusal)
        return credential

    def _make_ready(self, digest: bytes) -> Credential | None:
        credential = self._records.get(digest)
        if credential is not None:
            if len(self._ready) >= _MOST_READY:
                self._ready.clear()
            self._ready[digest] = credential
        return credential


class KeyLoad:
    """Keys on their way into a cache, which goes on with those that it has."""

    def __init__(self, known: KeyRecords, finish: Callable[[KeyRecords], None]) -> None:
        self._known = known
        self._finish = finish
        self._records = KeyRecords()

    def add(self, keys: Iterable[ApiKey]) -> None:
        """Takes some of them."""
        for key in keys:
            _put(self._records, key, self._known)

    def finish(self) -> None:
        """Puts them in the place of those that the cache has."""
        self._finish(self._records)


def _put(records: KeyRecords, key: ApiKey, before: KeyRecords | None = None) -> None:
    """Keeps a key, unless a later change of it is kept; `before` says which keys are known to be revoked."""
    known = records.get(key.digest)
    if known is None or known.change_number <= key.change_number:
        revoked = known or (before.get(key.digest) if before is not None else None)
        records.put(credential_of(key, revoked))


def _expired(hint: str, expires_at_ms: int) -> str:
    when = datetime.fromtimestamp(expires_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"The API key {hint}… expired at {when}. Create a new key and use that."
