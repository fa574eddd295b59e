"""How the command fails: one clear line and exit status 1."""

from __future__ import annotations

import click


class CliError(click.ClickException):
    """The command cannot do what was asked; the message says why and what would help."""

    exit_code = 1
