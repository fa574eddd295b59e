"""An account of a local mesh for one test."""

from __future__ import annotations

from typing import Any

from tests.support.mesh import LocalMesh


class FundedAccount:
    """An account of its own with 1,000 credits."""

    def __init__(self, mesh: LocalMesh) -> None:
        self.mesh = mesh
        self.account = mesh.command_now("account", "create", "customer")["id"]
        mesh.command_now("credits", "grant", self.account, "1000")

    def new_key(self, *options: str) -> dict[str, Any]:
        """Makes a key without a rate limit and returns it with its description."""
        key: dict[str, Any] = self.mesh.command_now("key", "create", self.account, "--rpm", "0", *options)
        return key

    def paid_nothing(self) -> bool:
        """Tells whether all requests, of which there was one at least, have ended without a charge."""
        used = self.mesh.command_now("usage", self.account)
        balance = self.mesh.command_now("balance", self.account)
        return bool(used) and (balance["available"], balance["held"]) == (1000, 0)
