"""The schema of the ledger's database, one numbered revision after the other."""
