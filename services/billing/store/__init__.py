"""The ledger's SQL, for SQLite and PostgreSQL."""
