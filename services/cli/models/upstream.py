"""A model at a server that runs already, and has OpenAI's API."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from services.cli.errors import CliError
from services.cli.models.examination import examine_server
from services.cli.models.names import model_names, tier_names
from services.cli.models.own_model import OwnModel
from services.common.clock import Clock, system_clock


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """Where the server is, the key that it asks for, and which of its models is meant."""

    url: str
    key: str = field(default="", repr=False)
    model: str = ""


def upstream_model(
    upstream: Upstream,
    *,
    slots: int,
    context: int | None = None,
    tier: str = "",
    taken: Sequence[str] = (),
    clock: Clock = system_clock,
) -> OwnModel:
    """Returns the model of a server, which gets the `tier` if one is given; raises CliError if it cannot be used.

    At most `slots` answers run there at once, and each has `context` tokens, or as many as the server says.
    """
    server = examine_server(upstream.url, key=upstream.key, model=upstream.model)
    if not (context or server.context):
        raise CliError(f"{server.kind} does not say how many tokens a conversation may have. Give them with --context.")
    if context and 0 < server.context < context:
        raise CliError(
            f"{server.kind} attends to {server.context:,} tokens, and --context is {context:,}. Choose fewer."
        )
    # Some servers name a model by its file.
    (name,) = model_names([(PurePosixPath(server.model).name, "")], taken)
    return OwnModel(
        id=name,
        tier=tier or tier_names([name], taken)[0],
        origin=server.kind,
        slots=min(slots, server.slots or slots),
        context=context or server.context,
        tools=server.tools,
        thinking=server.thinking,
        created=datetime.datetime.fromtimestamp(clock(), datetime.UTC).date(),
        settings={
            "UPSTREAM_URL": upstream.url,
            "UPSTREAM_KEY": upstream.key,
            "UPSTREAM_MODEL": server.model,
        },
        engine="upstream",
    )
