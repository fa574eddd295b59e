"""The accounts that ask a mesh, and their keys."""

from __future__ import annotations

from dataclasses import dataclass

from tests.integration.auth.auth_client import AuthClient
from tests.integration.billing.billing_client import BillingClient

ACCOUNTS = 8
CREDITS = 10**12
# So large that nobody reaches it, and still counted in Redis for every request.
_HIGH_LIMIT = 10**9
# Requests a minute; more come.
_LOW_LIMIT = 60


@dataclass(frozen=True, slots=True)
class Customer:
    """An account with a key."""

    account_id: str
    api_key: str


@dataclass(frozen=True, slots=True)
class Customers:
    """Everybody who asks."""

    steady: tuple[Customer, ...]
    # Who leaves before anything has come, so that nobody can tell what a request of theirs costs.
    hasty: Customer
    # Who has no credits.
    poor: Customer
    # Who has a rate limit that is too low.
    limited: Customer

    @property
    def everyone(self) -> tuple[Customer, ...]:
        """All of them."""
        return (*self.steady, self.hasty, self.poor, self.limited)


async def make_customers(auth_address: str, billing_address: str) -> Customers:
    """Makes accounts, keys and credits."""
    async with AuthClient(auth_address) as auth, BillingClient(billing_address) as billing:

        async def make(granted: int = CREDITS, limit: int = _HIGH_LIMIT) -> Customer:
            account_id = (await auth.create_account()).id
            key = await auth.create_key(account_id, requests_per_minute=limit)
            if granted:
                await billing.grant(granted, account_id)
            return Customer(account_id, key.api_key)

        steady = tuple([await make() for _ in range(ACCOUNTS)])
        return Customers(steady, hasty=await make(), poor=await make(granted=0), limited=await make(limit=_LOW_LIMIT))
