"""Services with a mistake planted in them, to prove that the checker would catch it. Nothing else may import those."""
