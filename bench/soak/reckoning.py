"""Compares what clients saw with the ledger after the last request."""

from __future__ import annotations

from collections.abc import Iterator

from bench.soak.customers import CREDITS, Customer, Customers
from bench.soak.traffic import Traffic
from tests.integration.billing.billing_client import BillingClient
from tests.support.waiting import eventually

# Seconds until nobody has anything left to tell the ledger.
_REST = 60.0


async def wrongs(traffic: Traffic, customers: Customers, billing_address: str) -> list[str]:
    """Returns everything that is wrong; waits until nothing is held."""
    async with BillingClient(billing_address) as billing:

        async def nothing_held() -> bool:
            return not any([(await billing.balance(each.account_id))[1] for each in customers.everyone])

        try:
            await eventually(nothing_held, _REST)
        except AssertionError:
            return [f"credits are held {_REST:.0f} s after the last request"]
        spent = {each: await _spent(billing, each) for each in customers.everyone if each is not customers.poor}
        audit = await billing.audit()
    return [f"audit: {violation}" for violation in audit.violations] + list(_differences(traffic, customers, spent))


async def _spent(billing: BillingClient, customer: Customer) -> int:
    return CREDITS - (await billing.balance(customer.account_id))[0]


def _differences(traffic: Traffic, customers: Customers, spent: dict[Customer, int]) -> Iterator[str]:
    if len(traffic.prices) != 1:
        yield f"requests of one model cost {sorted(traffic.prices)}"
        return
    (price,) = traffic.prices
    hasty = spent.pop(customers.hasty)
    if hasty % price or not 0 <= hasty <= traffic.hasty * price:
        yield f"{traffic.hasty} requests that were left at once cost {hasty}"
    for customer, credits_spent in spent.items():
        # A client that leaves after the first output pays.
        seen = traffic.charged[customer.account_id] + traffic.left[customer.account_id] * price
        if credits_spent != seen:
            yield f"{customer.account_id} was charged {credits_spent}, and its clients saw {seen}"
