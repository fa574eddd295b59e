"""What a model of the user's own is called: by its file, or by the file's metadata if the file's name says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# How files of one model differ: Q4_K_M, IQ2_XXS, UD-Q4_K_XL, F16, BF16, MXFP4.
_QUANTISATION = re.compile(r"[-._ ](?:ud[-_])?(?:i?q\d\w*|b?f16|f32|fp\d+|mxfp4\w*|nvfp4|tq\d\w*)$", re.IGNORECASE)
# Names that many files have, and those of files in stores that name them by their content.
_MEANINGLESS = re.compile(r"(?:ggml[-_.]?)?(?:model|gguf|ggml|weights|file)?|(?:sha256[-_:])?[0-9a-f]{32,}")
_FOREIGN = re.compile(r"[^a-z0-9._]+")
_FOREIGN_IN_TIERS = re.compile(r"[^a-z0-9]+")
_LONGEST, _LONGEST_TIER = 100, 36


def model_names(files: Sequence[tuple[str, str]], taken: Iterable[str] = ()) -> list[str]:
    """Returns a different name for each file, by its name and its title in the metadata."""
    return _distinct([_name(file, title) for file, title in files], taken)


def tier_names(ids: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Returns a different tier for each model."""
    return _distinct([_FOREIGN_IN_TIERS.sub("-", name)[:_LONGEST_TIER].strip("-") for name in ids], taken)


def _name(file: str, title: str) -> str:
    stem = file.removesuffix(".gguf")
    while (shorter := _QUANTISATION.sub("", stem)) != stem:
        stem = shorter
    for text in (stem, title):
        name = _FOREIGN.sub("-", text.lower()).strip("-._")[:_LONGEST].strip("-._")
        if not _MEANINGLESS.fullmatch(name):
            return name
    return "model"


def _distinct(names: Sequence[str], taken: Iterable[str]) -> list[str]:
    used = set(taken)
    distinct = []
    for name in names:
        number, candidate = 1, name
        while candidate in used:
            number += 1
            candidate = f"{name}-{number}"
        used.add(candidate)
        distinct.append(candidate)
    return distinct
