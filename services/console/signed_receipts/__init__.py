"""Checks signed receipts that somebody pastes."""
