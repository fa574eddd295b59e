"""What one management command works with: the services it talks to, and how it shows what they say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from services.cli.clients import (
    AuthClient,
    BillingClient,
    RouterClient,
    address_advice,
    auth_client,
    billing_client,
    router_client,
)
from services.cli.errors import CliError
from services.cli.invocation import program, state_option
from services.cli.output import Output
from services.cli.state import Credentials, RunningMesh, StateDirectory
from services.common.channels import channel_opener
from services.common.settings import DEFAULT_CATALOG, TlsSettings


class Session:
    """Finds services by the addresses given, else by what the local mesh of the state directory says."""

    def __init__(self, *, state: StateDirectory, addresses: Mapping[str, str], tls: TlsSettings, as_json: bool) -> None:
        self.output = Output(as_json=as_json)
        self._state = state
        self._addresses = addresses
        self._open_channel = channel_opener(tls)

    def auth(self) -> AuthClient:
        """Returns a client of auth."""
        return auth_client(self._address("auth"), self._open_channel)

    def billing(self) -> BillingClient:
        """Returns a client of billing."""
        return billing_client(self._address("billing"), self._open_channel)

    def router(self) -> RouterClient:
        """Returns a client of the router."""
        return router_client(self._address("router"), self._open_channel)

    def local_credentials(self) -> Credentials | None:
        """Returns the local mesh's own account, if there is one here."""
        return self._state.load_credentials()

    def catalog_file(self) -> Path:
        """Returns the catalog that the local mesh sells, else the packaged one."""
        mesh = self._state.load_mesh()
        return Path(mesh.catalog_file) if mesh else DEFAULT_CATALOG

    def command(self, text: str) -> str:
        """Returns a command line that the user can paste to go on with the same mesh."""
        return f"{program()} {text}{state_option(self._state)}"

    def _address(self, service: str) -> str:
        if given := self._addresses[service]:
            return given
        mesh: RunningMesh | None = self._state.load_mesh()
        if mesh is None:
            raise CliError(
                f"no mesh runs in {self._state.path}: start one with `tiermesh up`, choose another directory with "
                f"--state-dir, or say where {service} listens with {address_advice(service)}"
            )
        return mesh.addresses[service]
