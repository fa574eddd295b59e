"""Closing an account: an owner does it, and the record of operators has it."""
