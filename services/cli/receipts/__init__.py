"""`tiermesh receipt`: checks receipts, and makes the keys that sign them."""
