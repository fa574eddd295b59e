"""What programs are told of prices is what is sold now, and every endpoint that is paid for is told of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.common.catalog import Catalog, Kind, Model
from services.edge.openapi.serving import Document
from services.edge.x402.discovery import Discovery
from tests.support.edge_routes import edge_routes

PRICES: dict[Kind, list[int]] = {"chat": [20, 0, 10], "embedding": [1], "image": [4]}


def catalog(prices: dict[Kind, list[int]]) -> Catalog:
    return Catalog(
        [
            Model(id=f"{kind}-{at}", kind=kind, tier=kind, price=price, context=512)
            for kind, listed in prices.items()
            for at, price in enumerate(listed)
        ]
    )


def fixed(amount: str) -> dict[str, str]:
    return {"mode": "fixed", "currency": "USD", "amount": amount}


def dynamic(least: str, most: str) -> dict[str, str]:
    return {"mode": "dynamic", "currency": "USD", "min": least, "max": most}


@pytest.mark.parametrize(
    ("path", "price"),
    [
        # What is free cannot be paid for.
        ("/chat/completions", dynamic("0.10", "0.20")),
        ("/completions", dynamic("0.10", "0.20")),
        ("/responses", dynamic("0.10", "0.20")),
        ("/messages", dynamic("0.10", "0.20")),
        ("/embeddings", fixed("0.01")),
        # Ten images at most.
        ("/images/generations", dynamic("0.04", "0.40")),
        ("/audio/speech", None),
        ("/audio/transcriptions", None),
        ("/models", None),
    ],
)
def test_the_price_of_an_endpoint_is_that_of_its_models(path: str, price: Any) -> None:
    info = Discovery(catalog(PRICES)).payment_info(path)
    assert info == (None if price is None else {"price": price, "protocols": [{"x402": {}}]})


async def told(document: Document) -> Any:
    response = await document.serve(make_mocked_request("GET", "/openapi.json"))
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


async def test_the_document_follows_the_catalog_and_tells_of_all_that_is_paid() -> None:
    every: dict[Kind, list[int]] = {"chat": [1], "embedding": [1], "speech": [1], "transcription": [1], "image": [1]}
    sold = catalog(every)
    document = Document(edge_routes()[:-1], Discovery(sold).payment_info)
    before = await told(document)
    assert [error.message for error in OpenAPIV31SpecValidator(before).iter_errors()] == []
    for path, operations in before["paths"].items():
        for operation in operations.values():
            assert ("x-payment-info" in operation) is ("402" in operation["responses"]), path
    assert await told(document) == before
    sold.replace(catalog({**every, "embedding": [7]}))
    after = await told(document)
    assert after["paths"]["/v1/embeddings"]["post"]["x-payment-info"]["price"] == fixed("0.07")
