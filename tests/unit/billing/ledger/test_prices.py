from __future__ import annotations

import pytest

from services.billing.ledger.prices import Prices, Quote
from services.common.catalog import Catalog, Model
from services.common.errors import Code, MeshError

PRICES = Prices(Catalog([Model(id="pro", kind="chat", tier="pro", price=10, context=4096, aliases=("best",))]))


@pytest.mark.parametrize(
    ("model", "quantity", "quote"),
    [("pro", 0, Quote("pro", 1, 10)), ("pro", 4, Quote("pro", 4, 10)), ("best", 1, Quote("pro", 1, 10))],
)
def test_quotes_name_the_catalog_id_and_at_least_one_unit(model: str, quantity: int, quote: Quote) -> None:
    assert PRICES.quote(model, quantity) == quote


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(MeshError, match="'cheap' does not exist") as refused:
        PRICES.quote("cheap", 1)
    assert (refused.value.code, refused.value.param) == (Code.MODEL_NOT_FOUND, "model")
