"""What a request costs: flat, for each request or each unit of it, by model."""

from __future__ import annotations

from typing import NamedTuple

from services.common.catalog import Catalog
from services.common.errors import Code, MeshError


class Quote(NamedTuple):
    """The price of one request at the moment it was asked for."""

    # The catalog id, also when an alias was asked for.
    model: str
    quantity: int
    # Credits for each unit.
    unit_price: int


class Prices:
    """The prices of the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def quote(self, model: str, quantity: int) -> Quote:
        """Prices a request; a quantity of 0 counts as 1. Raises MeshError MODEL_NOT_FOUND."""
        found = self._catalog.get(model)
        if found is None:
            message = f"The model {model!r} does not exist. GET /v1/models lists the models for sale."
            raise MeshError(Code.MODEL_NOT_FOUND, message, param="model")
        return Quote(found.id, max(1, quantity), found.price)
