"""What one management command works with: services, the account that the user means, and how answers are shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from services.cli.chain.local_chain import ChainFiles
from services.cli.errors import CliError
from services.cli.invocation import program, state_option
from services.cli.management.clients import (
    AuthClient,
    BillingClient,
    DepositClient,
    OperatorClient,
    PaymentsClient,
    PayoutClient,
    RouterClient,
    SweepClient,
    address_advice,
    auth_client,
    billing_client,
    deposit_client,
    operator_client,
    payments_client,
    payout_client,
    router_client,
    sweep_client,
)
from services.cli.management.output import Printer
from services.cli.management.wording import spoken
from services.cli.state import Credentials, RunningMesh, StateDirectory
from services.common.rpc.channels import OpenChannel, channel_opener
from services.common.settings import DEFAULT_CATALOG, TlsSettings
from tiermesh.auth.v1 import auth_pb2


class Session:
    """Finds services by the addresses given, else by what the local mesh of the state directory says."""

    def __init__(self, *, state: StateDirectory, addresses: Mapping[str, str], tls: TlsSettings, as_json: bool) -> None:
        self.output = Printer(as_json=as_json)
        self._state = state
        self._addresses = addresses
        self._tls = tls

    def auth(self) -> AuthClient:
        """Returns a client of auth."""
        return auth_client(self.address("auth"), self._opener("auth"))

    def operators(self) -> OperatorClient:
        """Returns a client of auth, for what it knows of operators."""
        return operator_client(self.address("auth"), self._opener("auth"))

    def billing(self) -> BillingClient:
        """Returns a client of billing."""
        return billing_client(self.address("billing"), self._opener("billing"))

    def deposits(self) -> DepositClient:
        """Returns a client of what billing keeps of deposits."""
        return deposit_client(self.address("billing"), self._opener("billing"))

    def sweeps(self) -> SweepClient:
        """Returns a client of what billing keeps of sweeps."""
        return sweep_client(self.address("billing"), self._opener("billing"))

    def payouts(self) -> PayoutClient:
        """Returns a client of what billing owes to wallets."""
        return payout_client(self.address("billing"), self._opener("billing"))

    def payments(self) -> PaymentsClient:
        """Returns a client of payments."""
        return payments_client(self.address("payments"), self._opener("payments"))

    def router(self) -> RouterClient:
        """Returns a client of the router."""
        return router_client(self.address("router"), self._opener("router"))

    def local_credentials(self) -> Credentials | None:
        """Returns the local mesh's own account, if there is one here."""
        return self._state.load_credentials()

    def local_mesh(self) -> RunningMesh | None:
        """Returns where the local mesh listens, if one runs here."""
        return self._state.load_mesh()

    @property
    def chain_files(self) -> ChainFiles:
        """Where the files of the local chain are."""
        return ChainFiles(self._state.chain)

    def tls(self, service: str) -> TlsSettings:
        """Returns the operator's certificate files: those given, else the local mesh's for its own services."""
        mesh = None if self._tls.enabled or self._addresses.get(service) else self.local_mesh()
        return mesh.tls if mesh else self._tls

    def catalog_file(self) -> Path:
        """Returns the catalog that the local mesh sells, else the packaged one."""
        mesh = self.local_mesh()
        return Path(mesh.catalog_file) if mesh else DEFAULT_CATALOG

    def command(self, text: str) -> str:
        """Returns a command line that the user can paste to go on with the same mesh."""
        return f"{program()} {text}{state_option(self._state)}"

    def address(self, service: str) -> str:
        """Returns where a service listens; raises CliError if nothing says it."""
        if given := self._addresses[service]:
            return given
        mesh = self.local_mesh()
        if mesh is None:
            raise CliError(
                f"No mesh runs in {self._state.path}. Start one with `tiermesh up`, choose another directory with "
                f"--state-dir, or give the address of {spoken(service)} with {address_advice(service)}."
            )
        if service not in mesh.addresses:
            raise CliError(
                f"The mesh in {self._state.path} has no {service}. Give its address with {address_advice(service)}."
            )
        return mesh.addresses[service]

    def _opener(self, service: str) -> OpenChannel:
        return channel_opener(self.tls(service), service)


async def find_account(session: Session, text: str | None) -> str:
    """Returns the id of the account with this id or name; without either, the local mesh's own.

    Asking auth first keeps a typing error from looking like an account with no credits. Raises CliError.
    """
    if text is None:
        credentials = session.local_credentials()
        if credentials is None:
            raise click.UsageError(
                "The argument ACCOUNT is missing. Name an account, because no local mesh was ever started here."
            )
        return credentials.account_id
    async with session.auth() as auth:
        return await _search(session, auth, text)


async def _search(session: Session, auth: AuthClient, text: str) -> str:
    accounts = (await auth.call(auth.stub.ListAccounts, auth_pb2.ListAccountsRequest())).accounts
    if any(account.id == text for account in accounts):
        return text
    named = [account.id for account in accounts if account.name == text]
    if len(named) > 1:
        raise CliError(f"{len(named)} accounts have the name {text!r}. Use one of their IDs: {', '.join(named)}.")
    if not named:
        raise CliError(f"There is no account {text!r}. List the accounts with `{session.command('account list')}`.")
    return named[0]
