"""Finds the account that a user means."""

from __future__ import annotations

import click

from services.cli.clients import AuthClient
from services.cli.errors import CliError
from services.cli.session import Session
from tiermesh.auth.v1 import auth_pb2


async def find_account(session: Session, text: str | None) -> str:
    """Returns the id of the account with this id or name; without either, the local mesh's own.

    Asking auth first keeps a typing error from looking like an account with no credits. Raises CliError.
    """
    if text is None:
        credentials = session.local_credentials()
        if credentials is None:
            raise click.UsageError(
                "Missing argument 'ACCOUNT': no local mesh was ever started here, so there is no default."
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
        raise CliError(f"{len(named)} accounts have the name {text!r}; use one of their ids: {', '.join(named)}")
    if not named:
        raise CliError(f"there is no account {text!r}; list them with `{session.command('account list')}`")
    return named[0]
