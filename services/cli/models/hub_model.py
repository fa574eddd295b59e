"""A model in a repository on Hugging Face, by the words of the user."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from services.cli.errors import CliError

PREFIX = "hf:"
_WORDS = re.compile(r"(?P<owner>[\w.-]+)/(?P<repository>[\w.-]+)(?::(?P<file>[\w.-]+(?:/[\w.-]+)*))?", re.ASCII)
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.IGNORECASE)
# Files beside models: image encoders, and measurements for quantising.
_BESIDE = re.compile(r"(?:^|[-_./])(?:mmproj|imatrix)", re.IGNORECASE)
_MOST_NAMES = 12


@dataclass(frozen=True)
class HubModel:
    """A repository, and which file of it: its name, or its last words such as Q4_K_M; "" for the only one."""

    owner: str
    repository: str
    file: str

    @property
    def id(self) -> str:
        """The repository as Hugging Face names it."""
        return f"{self.owner}/{self.repository}"

    def kept(self, folder: Path) -> Path | None:
        """Returns the file if an earlier start has kept it in `folder`, and no other could be meant."""
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")]
        fitting = self._fitting(names)
        return folder / fitting[0] if len(fitting) == 1 else None

    def choose(self, names: Iterable[str]) -> str:
        """Returns the file that is meant, of those in the repository; raises CliError if none or several could be."""
        models = sorted(name for name in names if name.lower().endswith(".gguf"))
        fitting = self._fitting(models)
        whole = [name for name in fitting if not _PART.search(name)]
        if len(whole) == 1:
            return whole[0]
        if whole:
            raise CliError(f"{self.id} has several models: add one, as in {PREFIX}{self.id}:{whole[0]}. {_list(whole)}")
        if fitting:
            raise CliError(
                f"{fitting[0]} in {self.id} is one part of a model, and parts are not put together here. Choose a "
                "whole file, or join the parts with `llama-gguf-split --merge`, and name the file that comes of it."
            )
        if self.file:
            raise CliError(f"{self.id} has no GGUF file {self.file}. {_list(self._models(models))}")
        raise CliError(
            f"{self.id} has no model in GGUF. Choose a repository that has, often the same name with '-GGUF'."
        )

    def _fitting(self, names: Iterable[str]) -> list[str]:
        if not self.file:
            return self._models(names)
        if self.file.lower().endswith(".gguf"):
            return [name for name in names if name == self.file]
        words = re.compile(rf"(?:^|[-_./]){re.escape(self.file)}(?:-\d{{5}}-of-\d{{5}})?\.gguf$", re.IGNORECASE)
        return [name for name in self._models(names) if words.search(name)]

    def _models(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if not _BESIDE.search(name)]


def parse_hub_model(words: str) -> HubModel:
    """Reads `hf:OWNER/REPOSITORY[:FILE]`; raises CliError."""
    match = _WORDS.fullmatch(words.removeprefix(PREFIX))
    # A name of dots alone would leave the folder in which models are kept.
    if match is None or any(not part.strip(".") for part in re.split("[/:]", words.removeprefix(PREFIX))):
        raise CliError(f"{words!r} names no model. Write hf:OWNER/REPOSITORY, or hf:OWNER/REPOSITORY:FILE.")
    return HubModel(match["owner"], match["repository"], match["file"] or "")


def _list(names: list[str]) -> str:
    if not names:
        return "It has none."
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"It has {', '.join(names[:_MOST_NAMES])}{more}."
