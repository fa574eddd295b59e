"""Measures a ledger of millions of entries beside an empty one: charges, reports, audits and balances."""
