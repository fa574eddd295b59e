"""What the API tells without a key: what it is, and whether it serves."""
