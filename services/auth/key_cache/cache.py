"""Verifies keys from memory: every key is held by its digest, so no request waits for the database.

Keys that do not work any more are held for a while, so that their owners are told what happened; then they are pruned.

The cache is filled at start and told of every change by `put`, also of those that other replicas made: in any order
and as often as one likes, since changes are numbered and revocation is final.

Beyond a limit, only the keys that were used or changed last are held. The others are read when they are used.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
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
# So many keys are remembered that only seemed to exist.
_MOST_UNKNOWN = 10_000

# What was read, by digest; None for what the store does not have.
Reads = Mapping[bytes, Credential | None]
NOTHING: Reads = {}


class NotInMemory(Exception):  # noqa: N818 - it is an instruction
    """Raised for a key that may exist and is not held: read it by this digest, and verify it again."""

    def __init__(self, digest: bytes) -> None:
        super().__init__()
        self.digest = digest


class KeyCache:
    """Keys by their digest: all of them, or beyond `limit` those that were used last."""

    def __init__(self, limit: int = 1_000_000) -> None:
        self._limit = limit
        self._records = KeyRecords(limit)
        # Few beside the records, since what is used here does not count as used there.
        self._most_ready = min(_MOST_READY, -(-limit // 10))
        self._ready: dict[bytes, Credential] = {}
        self._load: KeyLoad | None = None
        # What the store does not have, though it may seem so.
        self._unknown: dict[bytes, None] = {}
        # What has changed since a read began; None while there is none, or if it has to be done again.
        self._changed: dict[bytes, ApiKey] | None = None

    def __len__(self) -> int:
        return len(self._records)

    def load(self, keys: Iterable[ApiKey]) -> None:
        """Takes in the keys that the store holds, and forgets any others. Revoked ones stay so whatever it says."""
        load = self.begin_load()
        load.add(keys)
        load.finish()

    def begin_load(self) -> KeyLoad:
        """Begins to take in the keys that the store holds, some at a time. Until it is finished, nothing changes."""
        self._load = KeyLoad(self._records, KeyRecords(self._limit), self._finish)
        return self._load

    def _finish(self, records: KeyRecords) -> None:
        self._records, self._load, self._changed = records, None, None
        self._ready.clear()
        self._unknown.clear()

    def put(self, key: ApiKey) -> None:
        """Takes in a new or changed key; it holds for the very next verification. Old news changes nothing."""
        self._forget_results(key.digest)
        _put(self._records, key)
        if self._load is not None:
            self._load.add((key,))
        if self._changed is not None:
            self._changed[key.digest] = _later(self._changed.get(key.digest), key)

    async def read(
        self, digests: Collection[bytes], fetch: Callable[[Collection[bytes]], Awaitable[Iterable[ApiKey]]]
    ) -> Reads:
        """Reads keys that are not held, and returns them all, however few can be held. There is one read at a time.

        Raises what `fetch` raises, which returns what the store has of these digests.
        """
        while True:
            changed = self._changed = {}
            try:
                fetched = {key.digest: key for key in await fetch(digests)}
                # Unless all keys were loaded meanwhile: then nobody knows which of the two is newer.
                if self._changed is changed:
                    return {digest: self._take_read(digest, fetched, changed) for digest in digests}
            finally:
                self._changed = None

    def _take_read(
        self, digest: bytes, fetched: Mapping[bytes, ApiKey], changed: Mapping[bytes, ApiKey]
    ) -> Credential | None:
        key = fetched.get(digest)
        if digest in changed:
            key = _later(key, changed[digest])
        if key is not None:
            self._forget_results(digest)
            return _keep(self._records, key)
        if len(self._unknown) >= _MOST_UNKNOWN:
            self._unknown.clear()
        self._unknown[digest] = None
        return None

    def _forget_results(self, digest: bytes) -> None:
        self._ready.pop(digest, None)
        self._unknown.pop(digest, None)

    async def prune(self, before_ms: int) -> None:
        """Drops the keys that were revoked or expired at that time or before, while requests go on."""
        for _ in self._records.prune(before_ms):
            await asyncio.sleep(0)
        self._ready.clear()

    def verify(self, secret: str, now_ms: int, read: Reads = NOTHING) -> Credential:
        """Returns whose key `secret` is. Raises MeshError UNAUTHENTICATED, with what to do about it.

        For a key that works, of an account that is suspended or closed, this is PERMISSION_DENIED. Raises NotInMemory
        for a key that has to be read first, unless it is among those that were `read`.
        """
        if not secret:
            raise MeshError(Code.UNAUTHENTICATED, _MISSING)
        if len(secret) > MAX_KEY_LENGTH:
            raise MeshError(Code.UNAUTHENTICATED, _UNKNOWN)
        digest = digest_of(secret)
        credential = self._ready.get(digest) or self._make_ready(digest)
        if credential is None:
            if digest not in read and digest not in self._unknown and self._records.may_exist(digest):
                raise NotInMemory(digest)
            credential = read.get(digest)
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
            if len(self._ready) >= self._most_ready:
                self._ready.clear()
            self._ready[digest] = credential
            self._records.note_use(digest)
        return credential


class KeyLoad:
    """Keys on their way into a cache, which goes on with those that it has."""

    def __init__(self, known: KeyRecords, records: KeyRecords, finish: Callable[[KeyRecords], None]) -> None:
        self._known = known
        self._records = records
        self._finish = finish
        # Revocations that the store has lost. They are held last, so that no other key takes their place.
        self._revoked: dict[bytes, Credential] = {}

    def add(self, keys: Iterable[ApiKey]) -> None:
        """Takes some of them."""
        for key in keys:
            credential = _put(self._records, key, self._known)
            lost = not key.revoked_at_ms or key.digest in self._revoked
            if lost and credential is not None and credential.revoked_at_ms:
                self._revoked[key.digest] = credential

    def finish(self) -> None:
        """Puts them in the place of those that the cache has."""
        for credential in self._revoked.values():
            self._records.put(credential)
        self._finish(self._records)


def _put(records: KeyRecords, key: ApiKey, before: KeyRecords | None = None) -> Credential | None:
    """Keeps a key as `_keep` does, unless a later change of it may have been kept and had to go.

    Then nothing is kept, and the key is read before its next use.
    """
    if records.may_be_old(key.digest, key.change_number):
        return None
    return _keep(records, key, before)


def _keep(records: KeyRecords, key: ApiKey, before: KeyRecords | None = None) -> Credential:
    """Keeps a key, unless a later change of it is kept; `before` says which keys are known to be revoked.

    Returns what is known of the key now.
    """
    known = records.get(key.digest)
    if known is not None and known.change_number > key.change_number:
        return known
    revoked = known or (before.get(key.digest) if before is not None else None)
    credential = credential_of(key, revoked)
    records.put(credential)
    return credential


def _later(known: ApiKey | None, key: ApiKey) -> ApiKey:
    return known if known is not None and known.change_number > key.change_number else key


def _expired(hint: str, expires_at_ms: int) -> str:
    when = datetime.fromtimestamp(expires_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"The API key {hint}… expired at {when}. Create a new key and use that."
