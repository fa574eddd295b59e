"""Renders the settings of every service, from its settings class and the comments above the fields."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import Any

import click
import msgspec
from markdown import code, escape, table

from services.auth.settings import AuthSettings
from services.billing.settings import BillingSettings
from services.cli.__main__ import main as command_line
from services.common.settings import (
    DEFAULT_CATALOG,
    EtcdServiceSettings,
    GrpcServiceSettings,
    ServiceSettings,
)
from services.console.operators.settings import OperatorConsoleSettings
from services.console.settings import ConsoleSettings, SiteSettings
from services.edge.settings import EdgeSettings
from services.payments.settings import PaymentsSettings
from services.router.settings import RouterSettings
from services.runner.settings import RunnerSettings

_SHARED: tuple[tuple[type[ServiceSettings], str, str], ...] = (
    (
        ServiceSettings,
        "Every service",
        "Edge, consoles, auth, billing, router, runner and payments read these settings.",
    ),
    (
        GrpcServiceSettings,
        "Services with a gRPC interface",
        "Auth, billing, router, runner and payments read this setting.",
    ),
    (SiteSettings, "Consoles", "The console and the operators' console (`OPERATOR_CONSOLE`) read these settings."),
    (EtcdServiceSettings, "Services that use etcd", "Router and runner read these settings."),
)
_SERVICES: dict[str, type[ServiceSettings]] = {
    "edge": EdgeSettings,
    "console": ConsoleSettings,
    "operator_console": OperatorConsoleSettings,
    "auth": AuthSettings,
    "billing": BillingSettings,
    "router": RouterSettings,
    "runner": RunnerSettings,
    "payments": PaymentsSettings,
}
_INTRODUCTION = """# Settings

Each process reads its settings from environment variables named `TIERMESH_<SERVICE>_<FIELD>`, for example `TIERMESH_EDGE_LISTEN`. An unknown name or a wrong value ends the start with a message that names it. A boolean is `true` or `false`.

"""  # noqa: E501 - a paragraph of Markdown is one line.
_COMMANDS = """## Management commands

The `tiermesh` command reads these variables. The option overrides the variable. `tiermesh doctor` and `tiermesh etcd require-password` also read the password for etcd from `TIERMESH_CLI_ETCD_PASSWORD`. `tiermesh doctor` reads a key for the edge from `TIERMESH_API_KEY`.

"""  # noqa: E501 - a paragraph of Markdown is one line.
_HEAD = ("name", "type", "default", "unit", "meaning")


def settings_page() -> str:
    """Returns the page; raises ValueError for a field without a comment."""
    parts = [_INTRODUCTION]
    for kind, title, sentence in _SHARED:
        own = [name for name in kind.__annotations__ if not name.startswith("_")]
        rows = [_row("TIERMESH_<SERVICE>_", kind, name) for name in own]
        parts += [f"## {title}\n\n{sentence}\n\n", table(_HEAD, rows)]
    for service, kind in _SERVICES.items():
        rows = [_row(f"TIERMESH_{service.upper()}_", kind, name) for name in kind.__annotations__]
        parts += [f"## {service.replace('_', ' ').capitalize()}\n\n", table(_HEAD, rows)]
    parts += [_COMMANDS, table(("name", "meaning"), _variables())]
    return "".join(parts).rstrip("\n") + "\n"


def _row(prefix: str, kind: type[ServiceSettings], name: str) -> tuple[str, ...]:
    meaning, _, unit = _comments(kind)[name].partition(" Unit: ")
    field = next(field for field in msgspec.structs.fields(kind) if field.name == name)
    type_ = msgspec.inspect.type_info(field.type)
    return code(prefix + name.upper()), _type(type_), _default(field.default), unit.rstrip("."), escape(meaning)


def _comments(kind: type[ServiceSettings]) -> dict[str, str]:
    """Returns the comment above each field of a class."""
    source = textwrap.dedent(inspect.getsource(kind))
    lines = source.splitlines()
    [definition] = ast.parse(source).body
    if not isinstance(definition, ast.ClassDef):
        raise TypeError(f"{kind.__name__} is not a class")
    comments = {}
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            above = statement.lineno - 1
            while lines[above - 1].lstrip().startswith("#"):
                above -= 1
            words = [line.strip().removeprefix("#").strip() for line in lines[above : statement.lineno - 1]]
            if not words:
                raise ValueError(f"{kind.__name__}.{statement.target.id} has no comment above it; describe the setting")
            comments[statement.target.id] = " ".join(words)
    return comments


def _type(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.BoolType():
            return "boolean"
        case msgspec.inspect.LiteralType(values=values):
            return " or ".join(code(str(value)) for value in values)
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return " ".join(["integer" if isinstance(info, msgspec.inspect.IntType) else "number", *_bounds(info)])
        case msgspec.inspect.StrType():
            return "text"
    raise TypeError(f"no words for the type {info}")


def _bounds(info: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> list[str]:
    bounds = (("above", info.gt), ("from", info.ge), ("below", info.lt), ("to", info.le))
    return [
        f"{word} {limit:,g}" if limit < 10**6 else f"{word} {limit:,}" for word, limit in bounds if limit is not None
    ]


def _default(value: Any) -> str:
    if value == "":
        return "empty"
    if value == str(DEFAULT_CATALOG):
        return code("services/common/models.yaml")
    if isinstance(value, bool):
        return code(str(value).lower())
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}" if isinstance(value, float) else code(str(value))


def _variables() -> list[tuple[str, str]]:
    """Returns the variables of all commands, and of which option each is the default."""
    found: dict[str, str] = {}
    commands: list[click.Command] = [command_line]
    while commands:
        command = commands.pop()
        if isinstance(command, click.Group):
            commands += command.commands.values()
        for parameter in command.params:
            if isinstance(parameter.envvar, str) and isinstance(parameter, click.Option):
                found[parameter.envvar] = f"default of {code(parameter.opts[0])}: {escape(parameter.help or '')}"
    return sorted((code(name), re.sub(r"\s+", " ", meaning)) for name, meaning in found.items())
