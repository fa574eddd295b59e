"""What verification needs of a key."""

from __future__ import annotations

from dataclasses import dataclass

from services.auth.keys import ApiKey
from services.auth.lineage import Limit


@dataclass(frozen=True, slots=True)
class Credential:
    """What verification needs of a key, and no more."""

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


def credential_of(key: ApiKey, known: Credential | None) -> Credential:
    """Returns what verification needs of a key. One that is known to be revoked stays so, whatever it says."""
    return Credential(
        key_id=key.id,
        account_id=key.account_id,
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
