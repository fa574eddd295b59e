"""Signing in without an API key: passkeys, wallets and recovery codes, of which auth decides."""
