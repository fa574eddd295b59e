"""An account for one conversation, so that the ledger tells what exactly that conversation cost."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.mesh import LocalMesh


@dataclass(frozen=True, slots=True)
class Used:
    """What an account has used so far."""

    requests: int
    charged_requests: int
    credits: int
    prompt_tokens: int


class Customer:
    """An account with some credits and a key without a rate limit."""

    def __init__(self, mesh: LocalMesh, credits: int) -> None:  # noqa: A002 - as the command calls them
        self._mesh = mesh
        self._account = mesh.command_now("account", "create", "agent")["id"]
        if credits:
            mesh.command_now("credits", "grant", self._account, str(credits))
        self.base_url = mesh.base_url
        self.api_key = str(mesh.command_now("key", "create", self._account, "--rpm", "0")["api_key"])

    @property
    def used(self) -> Used:
        """What the ledger says of it."""
        days = self._mesh.command_now("usage", self._account)
        return Used(**{name: sum(day[name] for day in days) for name in Used.__slots__})

    @property
    def held(self) -> int:
        """The credits that a request holds now."""
        return int(self._mesh.command_now("balance", self._account)["held"])
