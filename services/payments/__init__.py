"""Payments: watches a chain for deposits, and gives accounts their deposit addresses. It has no key that can spend."""
