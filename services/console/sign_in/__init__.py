"""Signing in without an API key: passkeys and recovery codes, of which auth decides."""
