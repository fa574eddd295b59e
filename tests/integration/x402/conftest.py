"""One mesh that wallets can pay, for all tests; each test has wallets of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.integration.x402.mortal_shop import MortalShop
from tests.integration.x402.shop import Shop, Wallet, start_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A mesh that wallets can pay."""
    shop = start_shop(tmp_path_factory.mktemp("x402"))
    yield shop
    asyncio.run(shop.stop())


@pytest.fixture(scope="session")
def mortal(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MortalShop]:
    """A shop in the same mesh whose edge, payments and billing may die."""
    mortal = MortalShop(shop, tmp_path_factory.mktemp("mortal"))
    asyncio.run(mortal.start())
    yield mortal
    asyncio.run(mortal.stop())


@pytest.fixture
def wallet(shop: Shop) -> Wallet:
    """A wallet with 100 dollars."""
    return Wallet(shop)
