"""The schema of the database of accounts and keys, one numbered revision after the other."""
