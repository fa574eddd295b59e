"""Accounts and keys in SQL."""
