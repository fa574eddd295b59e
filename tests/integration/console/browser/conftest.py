"""A browser for all files of this folder, at which each test is a person of its own.

While it is open, this thread can run no asyncio tests, so the folder has none.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.integration.console.deposit_mesh import DepositMesh
from tests.integration.console.desk import Desk, launch
from tests.support.mesh import LocalMesh


@pytest.fixture(scope="package")
def browser(deposit_mesh: DepositMesh) -> Iterator[Browser]:
    """The browser. The mesh and what takes deposits are there before it, because they are started by asyncio too."""
    del deposit_mesh
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def desk(browser: Browser, mesh: LocalMesh) -> Iterator[Desk]:
    """A person at it with nothing in the browser yet."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=mesh.console_url)
    yield Desk(context, mesh.console_url)
    context.close()
