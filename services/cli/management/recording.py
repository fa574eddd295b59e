"""Records what a command changes before it does so, in the record that the operators' console shows."""

from __future__ import annotations

import getpass
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc

from services.cli.errors import CliError
from services.cli.management.session import Session
from services.common.errors import Code, MeshError
from tiermesh.auth.v1 import operators_pb2

# After these, nobody knows what the other service has done.
_UNKNOWN = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.INTERNAL}


@asynccontextmanager
async def recorded(session: Session, action: str, subject: str = "", detail: str = "") -> AsyncIterator[None]:
    """Records what the block does, and then what became of it; raises CliError, before the block if that fails."""
    action_id = f"act_{secrets.token_hex(12)}"
    begin = operators_pb2.BeginCommandRequest(
        action_id=action_id, user=_user(), action=action, subject=subject, detail=detail
    )
    async with session.operators() as operators:
        await operators.call(operators.stub.BeginCommand, begin)
        end = operators_pb2.EndActionRequest(action_id=action_id, outcome="unknown")
        try:
            yield
        except CliError as error:
            end.outcome, end.message = "refused" if was_refused(error) else "unknown", error.message
            raise
        else:
            end.outcome = "done"
        finally:
            # What is done is done, and its result may be a key that is shown only now.
            with suppress(CliError):
                await operators.call(operators.stub.EndAction, end)


def _user() -> str:
    """Returns the name of who runs the command, as the machine knows it."""
    try:
        return f"command line: {getpass.getuser()}"
    except (KeyError, OSError):
        # In a container, users often have no names.
        return f"command line: user {os.getuid()}"


def was_refused(error: CliError) -> bool:
    """Returns whether a service has refused; otherwise nobody knows what it has done."""
    cause = error.__cause__
    return isinstance(cause, grpc.aio.AioRpcError) and MeshError.from_rpc(cause).code not in _UNKNOWN
