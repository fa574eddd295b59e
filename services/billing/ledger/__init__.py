"""The double-entry ledger: what a request may spend, and what each operation does to the books."""
