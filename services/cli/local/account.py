"""The account that `tiermesh up` makes for whoever starts it, with a key and credits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, count

import msgspec

from services.cli.management.clients import AuthClient, BillingClient, OperatorClient
from services.cli.management.keys import list_keys
from services.cli.state import Credentials, StateDirectory
from services.common.clock import Clock, system_clock, to_ms
from services.common.scopes import ENDPOINTS
from tiermesh.auth.v1 import auth_pb2, operators_pb2
from tiermesh.billing.v1 import billing_pb2

NAME = "local"
CONSOLE_NAME = "console"
CREDITS = 1_000_000


@dataclass(frozen=True)
class LocalAccount:
    """The account, and what it may spend now."""

    credentials: Credentials
    available: int


async def ensure_local_account(
    auth: AuthClient,
    operators: OperatorClient,
    billing: BillingClient,
    state: StateDirectory,
    *,
    console: bool = False,
    clock: Clock = system_clock,
) -> LocalAccount:
    """Returns the account of an earlier start, or makes what is missing of it; raises CliError.

    Every step may have been the last one before a crash, so each is looked for before it is done. With `console`, the
    account has a key that signs in there, and there is an operator.
    """
    credentials = await _credentials(auth, state, clock)
    if console:
        credentials = await _with_console_key(auth, state, credentials, clock)
        credentials = await _with_operator(operators, state, credentials)
    grant = billing_pb2.GrantRequest(
        account_id=credentials.account_id,
        credits=CREDITS,
        # The same id at each start: billing grants it once.
        grant_id=f"welcome-{credentials.account_id}",
        note="Credits of a local mesh",
    )
    response = await billing.call(billing.stub.Grant, grant)
    return LocalAccount(credentials, response.balance.available)


async def _credentials(auth: AuthClient, state: StateDirectory, clock: Clock) -> Credentials:
    saved = state.load_credentials()
    account_id = await _account_id(auth, saved)
    if saved is not None and saved.account_id == account_id and await _works(auth, account_id, saved.key_id, clock):
        return saved
    # The first start, or somebody revoked the key or deleted the database.
    created = await auth.call(auth.stub.CreateKey, auth_pb2.CreateKeyRequest(account_id=account_id, name=NAME))
    credentials = Credentials(account_id=account_id, key_id=created.key.id, api_key=created.api_key)
    if saved is not None and saved.account_id == account_id:
        credentials = msgspec.structs.replace(saved, key_id=created.key.id, api_key=created.api_key)
    state.save_credentials(credentials)
    return credentials


async def _with_console_key(
    auth: AuthClient, state: StateDirectory, credentials: Credentials, clock: Clock
) -> Credentials:
    if credentials.console_key_id and await _works(auth, credentials.account_id, credentials.console_key_id, clock):
        return credentials
    # Without limits: they would bind every key that is created in the console.
    wish = auth_pb2.CreateKeyRequest(
        account_id=credentials.account_id, name=CONSOLE_NAME, endpoints=ENDPOINTS, requests_per_minute=0
    )
    created = await auth.call(auth.stub.CreateKey, wish)
    credentials = msgspec.structs.replace(credentials, console_key_id=created.key.id, console_key=created.api_key)
    state.save_credentials(credentials)
    return credentials


async def _with_operator(operators: OperatorClient, state: StateDirectory, credentials: Credentials) -> Credentials:
    known = (await operators.call(operators.stub.ListOperators, operators_pb2.ListOperatorsRequest())).operators
    if any(each.id == credentials.operator_id and not each.removed_at_ms for each in known):
        return credentials
    # A name is given once. It is taken if somebody deleted the file of credentials or removed the operator.
    taken = {each.name for each in known}
    numbered = (f"{NAME} {number}" for number in count(2))
    name = next(name for name in chain([NAME], numbered) if name not in taken)
    created = await operators.call(operators.stub.CreateOperator, operators_pb2.CreateOperatorRequest(name=name))
    credentials = msgspec.structs.replace(
        credentials, operator_id=created.operator.id, operator_key=created.operator_key
    )
    state.save_credentials(credentials)
    return credentials


async def _account_id(auth: AuthClient, saved: Credentials | None) -> str:
    accounts = (await auth.call(auth.stub.ListAccounts, auth_pb2.ListAccountsRequest())).accounts
    if saved is not None and any(account.id == saved.account_id for account in accounts):
        return saved.account_id
    for account in accounts:
        if account.name == NAME:
            return account.id
    created = await auth.call(auth.stub.CreateAccount, auth_pb2.CreateAccountRequest(name=NAME))
    return created.account.id


async def _works(auth: AuthClient, account_id: str, key_id: str, clock: Clock) -> bool:
    keys = await list_keys(auth, account_id)
    now = to_ms(clock())
    return any(
        key.id == key_id and not key.revoked_at_ms and (not key.expires_at_ms or key.expires_at_ms > now)
        for key in keys
    )
