"""Prints results: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from google.protobuf.message import Message
from rich import box
from rich.console import Console
from rich.table import Table

# A row as JSON shows it; names and integers are those of the contracts.
Row = Mapping[str, Any]
# The heading of a column and the text of its cells.
Columns = Mapping[str, Callable[[Row], str]]

# Where there is no terminal to fit into, nothing is wrapped.
_PIPE_WIDTH = 10_000


class Printer:
    """Where a command's result goes."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def rows(self, rows: Sequence[Row], columns: Columns, *, empty: str) -> None:
        """Prints a list; `empty` tells people what it means that there is nothing, and what to do."""
        if self._as_json:
            _print_json(list(rows))
        elif rows:
            _print_table(rows, columns)
        else:
            click.echo(empty)

    def record(self, record: Row, text: str) -> None:
        """Prints one thing: the record for programs, the text for people."""
        if self._as_json:
            _print_json(record)
        else:
            click.echo(text)


def to_row(message: Message) -> dict[str, Any]:
    """Returns a message's fields under their own names; integers stay integers, which protobuf's JSON makes strings."""
    return {field.name: _value(getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _value(value: Any) -> Any:
    if isinstance(value, Message):
        return to_row(value)
    if isinstance(value, (str, int, float)):
        return value
    return [_value(item) for item in value]


def _print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def _print_table(rows: Sequence[Row], columns: Columns) -> None:
    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in table.columns:
        # An id that is cut off is of no use; one that goes on in the next line is.
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(cell(row) for cell in columns.values()))
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, markup=False).print(table)
