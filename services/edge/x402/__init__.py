"""Lets wallets pay for single requests by the x402 protocol: terms, payments, and what settles them."""
