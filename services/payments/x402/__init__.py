"""Payments of wallets for single requests: checked, claimed, sent to the chain by a relayer, and found again."""
