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
from services.common.catalog import Kind
from services.common.clock import Clock, system_clock
from services.common.model_file import ModelServer

# How many tokens a model can take in, in words.
_BOUNDED: dict[Kind, str] = {"chat": "a conversation", "embedding": "an input"}


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """Where the server is, the key that it asks for, which of its models is meant, and what that is for."""

    url: str
    key: str = field(default="", repr=False)
    model: str = ""
    # None leaves it to the server.
    kind: Kind | None = None

    def examine(self) -> ModelServer:
        """Returns what the server says of the model; raises CliError if it cannot be used."""
        return examine_server(self.url, key=self.key, model=self.model, kind=self.kind)


def upstream_model(
    upstream: Upstream,
    server: ModelServer,
    *,
    slots: int,
    context: int | None = None,
    tier: str = "",
    taken: Sequence[str] = (),
    clock: Clock = system_clock,
) -> OwnModel:
    """Returns the model of a server that has been examined, which gets the `tier` if one is given; raises CliError.

    At most `slots` answers run there at once. Each has `context` tokens, or as many as the server says, if its kind of
    work is counted in tokens.
    """
    bounded = _BOUNDED.get(server.kind)
    if bounded and not (context or server.context):
        raise CliError(f"{server.origin} does not say how many tokens {bounded} may have. Give them with --context.")
    if bounded and context and 0 < server.context < context:
        raise CliError(
            f"{server.origin} attends to {server.context:,} tokens, and --context is {context:,}. Choose fewer."
        )
    # Some servers name a model by its file.
    (name,) = model_names([(PurePosixPath(server.model).name, "")], taken)
    return OwnModel(
        id=name,
        tier=tier or tier_names([name], taken)[0],
        kind=server.kind,
        voices=server.voices,
        origin=server.origin,
        slots=min(slots, server.slots or slots),
        context=(context or server.context) if bounded else 0,
        tools=server.tools,
        thinking=server.thinking,
        created=datetime.datetime.fromtimestamp(clock(), datetime.UTC).date(),
        settings={
            "UPSTREAM_URL": upstream.url,
            "UPSTREAM_KEY": upstream.key,
            "UPSTREAM_MODEL": server.model,
            "UPSTREAM_KIND": server.kind,
        },
        engine="upstream",
    )
