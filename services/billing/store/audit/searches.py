"""How the statements of a slice find what its entries belong to: by one search in an index for each of them."""

from __future__ import annotations

# What a column of a unique key equals, by dialect. A slice is small beside the tables that it is joined with. But what
# PostgreSQL reckons would have it read such a table as a whole, in parallel, for every slice of a ledger of a few
# million entries. Of a comparison with an array of one element it can make nothing but a search in the index
# (docs/decisions/0050).
EACH = {"sqlite": "({})", "postgresql": "ANY (ARRAY[{}])"}
