"""What integration tests of several services share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.postgres import URL_VARIABLE, PostgresServer


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server for the whole session: the one that the environment names, else one of our own."""
    if given := os.environ.get(URL_VARIABLE):
        yield given
        return
    server = PostgresServer()
    try:
        server.start()
        yield server.url
    finally:
        server.remove()
