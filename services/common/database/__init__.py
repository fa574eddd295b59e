"""Databases: connections, transactions, statements and migrations, for SQLite and PostgreSQL."""
