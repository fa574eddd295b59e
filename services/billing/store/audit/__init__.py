"""The ledger's proof: queries that find no row in a sound ledger, and name each row that breaks an invariant.

Every query reads one slice on a snapshot of its own, so that the audit of a busy ledger raises no false alarm, holds
nobody up, and lets SQLite's write-ahead log shrink (docs/decisions/0034).
"""
