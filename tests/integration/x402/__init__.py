"""Wallets that pay for single requests: a whole mesh, payments and a real chain."""
