"""Verifies keys from memory: every key is held by its digest, so no request waits for the database.

Keys that do not work any more are held for a while, so that their owners are told what happened; then they are pruned.

The cache is filled at start and told of every change by `put`, also of those that other replicas made: in any order
and as often as one likes, since changes are numbered and revocation is final.
"""

from __future__ import annotations

import hmac
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from services.auth.keys import MAX_KEY_LENGTH, ApiKey, digest_of, hint_of
from services.auth.lineage import Limit
from services.common.errors import Code, MeshError

_MISSING = (
    "You did not provide an API key. Send it in the Authorization header, as in 'Authorization: Bearer YOUR_KEY'."
)
# Nothing of the presented text is repeated: it may be someone's key with a slip in it, or a key of another service.
_UNKNOWN = (
    "Incorrect API key provided. Check that the whole key was copied and that it was made for this service. "
    "A lost key cannot be shown again; create a new one."
)


@dataclass(frozen=True, slots=True)
class Credential:
    """What verification needs of a key, and no more: there is one in memory for each key."""

    key_id: str
    account_id: str
    digest: bytes
    requests_per_minute: int
    expires_at_ms: int
    # 0 if it was not.
    revoked_at_ms: int
    models: tuple[str, ...]
    endpoints: tuple[str, ...]
    monthly_credit_cap: int
    change_number: int
    # Every limit that binds the key; empty if there is at most its own, counted under its own id, as for most keys.
    caps: tuple[Limit, ...]
    rates: tuple[Limit, ...]
    # Why the account lets nobody in; empty if it does.
    refusal: str

    @property
    def binding_rates(self) -> tuple[Limit, ...]:
        """Every rate limit that binds the key."""
        if self.rates or not self.requests_per_minute:
            return self.rates
        return ((self.key_id, self.requests_per_minute),)

    def ended(self, before_ms: int) -> bool:
        """Whether the key was revoked or expired at that time or before."""
        return 0 < self.revoked_at_ms <= before_ms or 0 < self.expires_at_ms <= before_ms


class KeyCache:
    """Every key by its digest."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, Credential] = {}

    def __len__(self) -> int:
        return len(self._by_digest)

    def load(self, keys: Iterable[ApiKey]) -> None:
        """Takes in the keys that the store holds, and forgets any others. Revoked ones stay so whatever it says."""
        self._by_digest = {key.digest: _credential(key, self._by_digest.get(key.digest)) for key in keys}

    def put(self, key: ApiKey) -> None:
        """Takes in a new or changed key; it holds for the very next verification. Old news changes nothing."""
        known = self._by_digest.get(key.digest)
        if known is None or known.change_number <= key.change_number:
            self._by_digest[key.digest] = _credential(key, known)

    def prune(self, before_ms: int) -> None:
        """Drops the keys that were revoked or expired at that time or before."""
        ended = [digest for digest, credential in self._by_digest.items() if credential.ended(before_ms)]
        for digest in ended:
            del self._by_digest[digest]

    def verify(self, secret: str, now_ms: int) -> Credential:
        """Returns whose key `secret` is. Raises MeshError UNAUTHENTICATED, with what to do about it.

        For a key that works, of an account that is suspended or closed, this is PERMISSION_DENIED.
        """
        if not secret:
            raise MeshError(Code.UNAUTHENTICATED, _MISSING)
        if len(secret) > MAX_KEY_LENGTH:
            raise MeshError(Code.UNAUTHENTICATED, _UNKNOWN)
        digest = digest_of(secret)
        credential = self._by_digest.get(digest)
        # The time that a dictionary takes tells at most something about a digest, which nobody can steer or invert;
        # the comparison that decides is constant-time all the same.
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


def _credential(key: ApiKey, known: Credential | None) -> Credential:
    return Credential(
        key_id=key.id,
        # Many keys share an account; interning keeps one copy of its id.
        account_id=sys.intern(key.account_id),
        digest=key.digest,
        requests_per_minute=key.requests_per_minute,
        expires_at_ms=key.expires_at_ms,
        revoked_at_ms=key.revoked_at_ms or (0 if known is None else known.revoked_at_ms),
        models=key.models,
        endpoints=key.endpoints,
        monthly_credit_cap=key.monthly_credit_cap,
        change_number=key.change_number,
        caps=_unless_own(key.caps, key.id),
        rates=_unless_own(key.rates, key.id),
        refusal=key.refusal,
    )


def _unless_own(limits: tuple[Limit, ...], key_id: str) -> tuple[Limit, ...]:
    """Returns nothing for a key that only its own limit binds: the credential says that already."""
    return () if len(limits) == 1 and limits[0][0] == key_id else limits


def _expired(hint: str, expires_at_ms: int) -> str:
    when = datetime.fromtimestamp(expires_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"The API key {hint}… expired at {when}. Create a new key and use that."
