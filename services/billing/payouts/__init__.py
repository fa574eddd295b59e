"""Payouts: what wallets have paid and not spent goes back to them."""
