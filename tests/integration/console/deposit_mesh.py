"""What a mesh needs beside it to take deposits: a chain with a token, payments, and a console that knows both."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.sync_api import Page

from tests.integration.console.person import beside
from tests.support.chain import TOKEN_NAME, XPUB, Chain, TokenContract
from tests.support.deadlines import stretched
from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh

_SECONDS = 15.0


class DepositMesh:
    """Start it before a browser, and end it after: both have a loop of their own."""

    def __init__(self, mesh: LocalMesh, directory: Path) -> None:
        self.mesh = mesh
        self.chain = Chain()
        self._directory = directory

    async def start(self) -> None:
        """Starts all of it, and returns when the chain is watched."""
        await self.chain.start()
        self.token = TokenContract(self.chain)
        self.finalize()
        settings = {
            "rpc_url": self.chain.url,
            "billing_addresses": self.mesh.addresses["billing"],
            "chain_id": str(self.chain.chain_id),
            "chain_name": "Base",
            "token": self.token.address,
            "token_name": TOKEN_NAME,
            "xpub": XPUB,
            "poll_seconds": "0.05",
            "second_poll_seconds": "0.2",
            "second_delay_seconds": "0",
            "pending_reads_per_minute": "100000",
        }
        self._payments = ForkedServiceProcess(
            "payments", self._directory, settings | self.mesh.tls_settings("payments")
        )
        self._console = ForkedServiceProcess("console", self._directory, self.settings())
        await self._payments.start()
        await self._console.start()

    def settings(self, **changes: str) -> dict[str, str]:
        """Returns the settings of a console that takes deposits."""
        limits = {"sign_ins_per_minute": "100000", "registrations_per_hour": "100000", "registration": "open"}
        return beside(self.mesh) | limits | {"payments_addresses": self._payments.address} | changes

    async def stop(self) -> None:
        """Ends all of it."""
        await self._console.kill()
        await self._payments.kill()
        self.chain.stop()

    @property
    def url(self) -> str:
        """Where people open the console."""
        return f"http://localhost:{self._console.address.rpartition(':')[2]}"

    def finalize(self) -> None:
        """Adds as many blocks as make final what has happened."""
        self.chain.mine(3)


def reload_until(page: Page, text: str) -> None:
    """Reloads a page until it shows a text."""
    deadline = time.monotonic() + stretched(_SECONDS)
    while page.get_by_text(text).count() == 0:
        assert time.monotonic() < deadline, f"the page never shows {text!r}"
        page.reload()
