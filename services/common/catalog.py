"""The catalog of models for sale: one YAML file that every service loads and validates the same way."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from services.common.files.yaml_file import YamlFileError, read_yaml

ModelId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
Capability = Literal["tools", "vision"]
Kind = Literal["chat", "embedding", "speech", "transcription", "image"]
# The kinds whose work is bounded by a number of tokens.
_BOUNDED_BY_CONTEXT = ("chat", "embedding")
_LEAST_CONTEXT = 16


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model for sale; models.yaml documents the fields."""

    id: ModelId
    kind: Kind
    tier: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,40}$")]
    # Credits for one request; for an image model, for one image.
    price: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
    # Tokens of prompt and answer together; for an embedding model, of one input. Other kinds have none.
    context: Annotated[int, msgspec.Meta(ge=0)] = 0
    aliases: tuple[ModelId, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    reasoning: bool = False
    # The voices of a speech model, by the names that requests choose them by; empty if they are not listed.
    voices: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=256)], ...] = ()
    # Seconds for which a request waits while its tier, scaled to zero, has no runner; 0 refuses it at once. What is
    # left of the edge's request_timeout, 600 s, must be enough for the answer.
    cold_start_seconds: Annotated[int, msgspec.Meta(ge=0, le=300)] = 0
    # Seconds for which a runner may show no progress with a request before another one gets it. Progress is a step of
    # the answer, and what the engine does towards it, such as reading a long prompt.
    silence_seconds: Annotated[int, msgspec.Meta(ge=3, le=3600)] = 60
    # The day from which on it is sold.
    created: datetime.date | None = None
    owned_by: str = "tiermesh"

    def __post_init__(self) -> None:
        """Checks what depends on the kind."""
        if self.kind in _BOUNDED_BY_CONTEXT and self.context < _LEAST_CONTEXT:
            raise ValueError(f"{self.id}: a model of kind {self.kind} needs a 'context' of at least {_LEAST_CONTEXT}")
        if self.kind != "chat" and (self.reasoning or self.capabilities):
            raise ValueError(f"{self.id}: 'reasoning' and 'capabilities' are for models of kind chat")
        if self.kind != "speech" and self.voices:
            raise ValueError(f"{self.id}: 'voices' are for models of kind speech")

    @property
    def unit(self) -> str:
        """What the price is for."""
        return "image" if self.kind == "image" else "request"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: Annotated[list[Model], msgspec.Meta(min_length=1)]


class CatalogError(ValueError):
    """The catalog file is missing or wrong; the message names the file and the place in it."""


class Catalog:
    """The models for sale, found by id or alias."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = tuple(models)
        self._by_name: dict[str, Model] = {}
        for model in models:
            for name in (model.id, *model.aliases):
                if name in self._by_name:
                    raise CatalogError(f"the name {name!r} is used twice")
                self._by_name[name] = model

    def replace(self, other: Catalog) -> None:
        """Sells what the other catalog sells from now on; models that somebody holds go on being what they were."""
        self.models, self._by_name = other.models, other._by_name

    def get(self, name: str) -> Model | None:
        """Returns the model with this id or alias, or None."""
        return self._by_name.get(name)

    def tier(self, tier: str) -> list[Model]:
        """Returns the models of one tier."""
        return [model for model in self.models if model.tier == tier]


def load_catalog(path: str | Path) -> Catalog:
    """Loads and validates a catalog file; raises CatalogError."""
    try:
        return Catalog(msgspec.convert(read_yaml(path, "catalog"), _File).models)
    except YamlFileError as error:
        raise CatalogError(str(error)) from error
    except (msgspec.ValidationError, CatalogError) as error:
        raise CatalogError(f"the catalog {path} is wrong: {error}") from error


def catalog_digest(catalog: Catalog) -> str:
    """Returns what two catalogs have in common only if they sell the same: 12 hexadecimal digits."""
    return hashlib.sha256(msgspec.json.encode(catalog.models, order="sorted")).hexdigest()[:12]
