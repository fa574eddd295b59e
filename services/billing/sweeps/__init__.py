"""Sweeps: what the operator has moved away from deposit addresses."""
