"""Signed receipts: what they say, the keys that sign them, and how anybody checks one (docs/receipts.md)."""
