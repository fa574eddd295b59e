"""A model of the user's own, as a local mesh serves it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.cli.models.examination import examine_files
from services.cli.models.fitting import Share, fit
from services.cli.models.names import model_names, tier_names
from services.common.catalog import Kind
from services.common.model_file import ModelFile, Thinking


@dataclass(frozen=True, kw_only=True)
class OwnModel:
    """One model, with the tier that its runner has."""

    # What requests write as "model".
    id: str
    tier: str
    # Where it comes from, for people.
    origin: str
    # Answers at once, and tokens of prompt and answer together for each.
    slots: int
    context: int
    tools: bool
    thinking: Thinking
    created: datetime.date
    # What its runner is told of it.
    settings: Mapping[str, str]
    engine: str = "llamacpp"
    kind: Kind = "chat"
    # The names of its voices, if it speaks and they are known.
    voices: tuple[str, ...] = ()
    # What has to be read before it serves, in bytes.
    size: int = 0


def own_models(
    paths: Sequence[Path], *, slots: int, memory: int, context: int | None = None, taken: Sequence[str] = ()
) -> tuple[OwnModel, ...]:
    """Returns the models in these files, which share `memory`, in bytes; raises CliError if one cannot be served.

    The first runs up to `slots` answers at once, the others fewer. `context` is what the user wants for each, in
    tokens. `taken` are names of models and tiers that others have.
    """
    files = examine_files(paths)
    ids = model_names([(path.name, file.title) for path, file in zip(paths, files, strict=True)], taken)
    shares = fit(list(zip(ids, files, strict=True)), slots=slots, memory=memory, context=context)
    return tuple(
        _own_model(name, tier, path, file, share)
        for name, tier, path, file, share in zip(ids, tier_names(ids, taken), paths, files, shares, strict=True)
    )


def _own_model(name: str, tier: str, path: Path, file: ModelFile, share: Share) -> OwnModel:
    return OwnModel(
        id=name,
        tier=tier,
        origin=path.name,
        slots=share.slots,
        context=share.context,
        tools=file.tools,
        thinking=file.thinking,
        created=datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).date(),
        # An encoder of images belongs to another model.
        settings={"MODEL_PATH": str(path.absolute()), "MMPROJ_PATH": ""},
        size=file.size,
    )
