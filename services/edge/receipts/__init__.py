"""The signed receipts that answers carry, and the keys to check them with."""
