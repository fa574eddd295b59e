"""Answers "can they pay": the double-entry ledger, prices, holds and usage."""
