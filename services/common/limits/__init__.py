"""Bounds that several services keep, so that each says the same."""
