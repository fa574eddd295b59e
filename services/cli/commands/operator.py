"""`tiermesh operator …`."""

from __future__ import annotations

import click

from services.cli.commands.options import management
from services.cli.management.output import Row, to_row
from services.cli.management.recording import recorded
from services.cli.management.session import Session
from services.cli.management.wording import moment
from tiermesh.auth.v1 import operators_pb2


@click.group()
def operator() -> None:
    """Create, list and remove operators.

    They sign in to the operators' console.
    """


@operator.command()
@click.argument("name")
@management("auth")
async def create(session: Session, name: str) -> None:
    """Create an operator with the name NAME. The key that signs in is shown only once."""
    async with recorded(session, "create_operator", name), session.operators() as operators:
        request = operators_pb2.CreateOperatorRequest(name=name)
        response = await operators.call(operators.stub.CreateOperator, request)
    session.output.record(
        {"operator_key": response.operator_key, **to_row(response.operator)},
        f"{response.operator_key}\n\n"
        f"Store it now. It cannot be shown again. It signs {name} in to the operators' console and nowhere else.\n"
        f"To remove the operator: {session.command('operator remove ' + response.operator.id)}",
    )


@operator.command("list")
@management("auth")
async def list_operators(session: Session) -> None:
    """List all operators, oldest first."""
    async with session.operators() as operators:
        response = await operators.call(operators.stub.ListOperators, operators_pb2.ListOperatorsRequest())
    session.output.rows(
        [to_row(each) for each in response.operators],
        {
            "operator": lambda row: row["id"],
            "name": lambda row: row["name"],
            "key starts with": lambda row: row["hint"],
            "created": lambda row: moment(row["created_at_ms"], "-"),
            "state": _state,
        },
        empty=f"There is no operator yet. Create one with `{session.command('operator create NAME')}`.",
    )


@operator.command()
@click.argument("name", metavar="OPERATOR")
@management("auth")
async def remove(session: Session, name: str) -> None:
    """Remove OPERATOR (ID or name). The key stops working, and the operator is signed out everywhere."""
    async with recorded(session, "remove_operator", name), session.operators() as operators:
        request = operators_pb2.RemoveOperatorRequest(operator=name)
        response = await operators.call(operators.stub.RemoveOperator, request)
    removed = response.operator
    text = f"Removed {removed.name} ({removed.id}). The key of this operator no longer works."
    session.output.record(to_row(removed), text)


def _state(row: Row) -> str:
    return f"removed {moment(row['removed_at_ms'], '')}" if row["removed_at_ms"] else "active"
