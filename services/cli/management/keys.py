"""Reads keys from auth, which lists them a page at a time."""

from __future__ import annotations

from services.cli.management.clients import AuthClient
from tiermesh.auth.v1 import auth_pb2


async def list_keys(auth: AuthClient, account_id: str = "") -> list[auth_pb2.ApiKey]:
    """Returns all keys of an account, or of all accounts, oldest first; raises CliError."""
    request = auth_pb2.ListKeysRequest(account_id=account_id)
    keys: list[auth_pb2.ApiKey] = []
    while True:
        page = await auth.call(auth.stub.ListKeys, request)
        keys.extend(page.keys)
        if not page.has_more:
            return keys
        request.after_key_id = page.keys[-1].id
