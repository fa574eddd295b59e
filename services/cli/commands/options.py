"""The options that management commands share, and how a command runs with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from services.cli.management.clients import address_variable
from services.cli.management.session import Session
from services.cli.management.wording import spoken
from services.cli.state import DEFAULT_STATE_DIRECTORY, STATE_DIRECTORY_VARIABLE, StateDirectory
from services.common.settings import TlsSettings

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

_TLS_FILES = {"ca": "CA certificate", "cert": "certificate of this command", "key": "private key"}


def state_directory_option(function: F) -> F:
    """Adds --state-dir."""
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        envvar=STATE_DIRECTORY_VARIABLE,
        default=DEFAULT_STATE_DIRECTORY,
        show_default=True,
        show_envvar=True,
        help="The directory of a local mesh, with its data, key and addresses.",
    )(function)


def management(
    *services: str,
) -> Callable[[Callable[Concatenate[Session, P], Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Turns a coroutine function into a command's body that talks to these services.

    It gets a Session before its own arguments; the options that make one are added to the command.
    """

    def decorate(body: Callable[Concatenate[Session, P], Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @wraps(body)
        def command(*args: P.args, **options: P.kwargs) -> None:
            session = _session(services, options)
            asyncio.run(body(session, *args, **options))

        return _with_options(services, command)

    return decorate


def _session(services: tuple[str, ...], options: dict[str, Any]) -> Session:
    """Takes the shared options out of `options`."""
    tls = {f"{name}_file": options.pop(f"tls_{name}_file") for name in _TLS_FILES}
    domain = options.pop("tls_domain")
    try:
        checked = TlsSettings(**tls, domain=domain)
    except ValueError as error:
        raise click.UsageError(
            "Give all of --tls-ca-file, --tls-cert-file and --tls-key-file, or none of them."
        ) from error
    return Session(
        state=StateDirectory(options.pop("state_dir")),
        addresses={service: options.pop(f"{service}_address") for service in services},
        tls=checked,
        as_json=options.pop("as_json"),
    )


def _with_options(services: tuple[str, ...], command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options; click shows them in the reverse of this order, after the command's own."""
    command = click.option(
        "--tls-domain",
        default="",
        envvar="TIERMESH_TLS_DOMAIN",
        show_envvar=True,
        help="For mutual TLS: the domain of the names in the certificates, if they have one.",
    )(command)
    for name, what in reversed(_TLS_FILES.items()):
        command = click.option(
            f"--tls-{name}-file",
            default="",
            envvar=f"TIERMESH_TLS_{name.upper()}_FILE",
            show_envvar=True,
            help=f"For mutual TLS: the {what}.",
        )(command)
    for service in reversed(services):
        command = click.option(
            f"--{service}-address",
            default="",
            envvar=address_variable(service),
            show_envvar=True,
            help=f"The address of {spoken(service)}, host:port. Default: the local mesh's.",
        )(command)
    command = state_directory_option(command)
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
