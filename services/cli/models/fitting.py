"""How much memory models of the user's own get: which context, and how many answers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.cli.errors import CliError
from services.common.model_file import ModelFile

_GIB = 1 << 30
_MIB = 1 << 20
# For the system and the other processes of the mesh.
RESERVE = 3 * _GIB // 2
# What a runner takes beside the weights and the conversations.
WORK = 256 * _MIB
# A conversation shorter than this is of no use.
_LEAST_CONTEXT = 2048
# As long as the prompts of coding agents. A longer one takes memory that most conversations never use.
USUAL_CONTEXT = 32_768
# llama.cpp gives out memory for so many tokens at a time.
_STEP = 256


@dataclass(frozen=True)
class Share:
    """What one model gets."""

    slots: int
    # Tokens of each slot.
    context: int


def fit(models: Sequence[tuple[str, ModelFile]], *, slots: int, memory: int, context: int | None = None) -> list[Share]:
    """Returns a share of `memory`, in bytes, for each of the named models; raises CliError if they do not fit.

    The first model runs up to `slots` answers at once and the others at most two. A model gets `context` tokens if
    that is given, else USUAL_CONTEXT or less: as many as it was trained for, and as fit. If the memory is scarce, there
    are fewer answers at once first, and then a shorter context.
    """
    for name, file in models:
        if context is not None and context > file.context:
            raise CliError(f"{name} attends to {file.context:,} tokens, and --context is {context:,}. Choose fewer.")
    aims = [min(context or USUAL_CONTEXT, file.context) for _, file in models]
    least = [aim if context else min(_LEAST_CONTEXT, aim) for aim in aims]
    needed = RESERVE + sum(
        file.size + WORK + tokens * file.token_size for (_, file), tokens in zip(models, least, strict=True)
    )
    if needed > memory:
        raise CliError(_too_large([name for name, _ in models], needed, memory, context))
    # What is left beyond the least is shared equally.
    spare = (memory - needed) // len(models)
    asked = [slots, *[min(slots, 2)] * (len(models) - 1)]
    return [
        _share(file.token_size, spare + tokens * file.token_size, aim, wanted)
        for (_, file), tokens, aim, wanted in zip(models, least, aims, asked, strict=True)
    ]


def _share(token_size: int, room: int, aim: int, wanted: int) -> Share:
    if not token_size:
        return Share(wanted, aim)
    if aim * token_size > room:
        return Share(1, room // token_size // _STEP * _STEP)
    return Share(max(1, min(wanted, room // (aim * token_size))), aim)


def _too_large(names: Sequence[str], needed: int, memory: int, context: int | None) -> str:
    verb = "needs" if len(names) == 1 else "together need"
    advice = "Choose a smaller model, or a file with fewer bits per weight."
    if context is not None:
        advice = f"Lower --context from {context:,}, or choose a smaller model."
    return f"{', '.join(names)} {verb} {gib(needed)} of memory, and this machine has {gib(memory)}. {advice}"


def gib(size: int) -> str:
    """Returns a size in GiB, for people."""
    return f"{size / _GIB:,.1f} GiB"
