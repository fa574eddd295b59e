"""How the statements of a slice find what its entries belong to: by one search in an index for each of them."""

from __future__ import annotations

# What a column of a unique key equals, by dialect. A slice is small beside the tables that it is joined with. But
# PostgreSQL reckons that some thousand searches cost more than to read such a table as a whole, for each slice. Of a
# comparison with an array of one element it can make nothing but a search in the index (docs/decisions/0054).
EACH = {"sqlite": "({})", "postgresql": "ANY (ARRAY[{}])"}
