"""What `--model` names: a file, or a repository on Hugging Face whose file is fetched first."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from services.cli.errors import CliError
from services.cli.models.hub_model import PREFIX, parse_hub_model
from services.common.files.cache_directory import default_cache

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def model_paths(names: Sequence[str], *, memory: int, say: Callable[[str], None]) -> list[Path]:
    """Returns the file of each model, which is on this machine then; raises CliError.

    `memory` is what the machine has, in bytes, so that nothing is fetched for which it is too small. `say` tells people
    what takes time.
    """
    return [_path(name, memory, say) for name in names]


def _path(name: str, memory: int, say: Callable[[str], None]) -> Path:
    if not name.startswith(PREFIX):
        path = Path(name)
        if _REPOSITORY.fullmatch(name) and not name.endswith(".gguf") and not path.exists():
            raise CliError(f"There is no file {name}. For a repository on Hugging Face, write {PREFIX}{name}.")
        return path
    model = parse_hub_model(name)
    folder = default_cache() / "hub" / model.owner / model.repository
    kept = model.kept(folder)
    if kept is not None:
        return kept
    # Only this needs the library.
    from services.cli.models.hub import Hub

    return Hub(say).fetch(model, folder, memory)
