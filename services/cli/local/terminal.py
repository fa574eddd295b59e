"""What `tiermesh up` says on the terminal while it runs: one line each, with the service's name in its colour.

These lines go to standard error; standard output holds only the greeting, for people and scripts alike.
"""

from __future__ import annotations

import contextlib

import click

from services.cli.local.log_output import LogLine

_COLOURS = {
    "etcd": "magenta",
    "auth": "green",
    "billing": "yellow",
    "router": "blue",
    "runner": "cyan",
    "edge": "bright_green",
    "console": "bright_cyan",
    # Whatever the terminal writes in, so that it is readable on any background.
    "tiermesh": "reset",
}
_WIDTH = len("runner-transcription")


def show_log_line(service: str, line: LogLine) -> None:
    """Shows a line of a service's log."""
    _write(service, str(line), None if line.warning or not line.level else "red")


def say(text: str) -> None:
    """Shows a message of `tiermesh up` itself."""
    _write("tiermesh", text, None)


def _write(service: str, text: str, colour: str | None) -> None:
    prefix = click.style(f"{service:<{_WIDTH}}", fg=_COLOURS.get(service.partition("-")[0]), bold=True)
    # A terminal that went away must not end the mesh.
    with contextlib.suppress(OSError):
        click.echo(f"{prefix} | {click.style(text, fg=colour)}", err=True)
