"""The catalog of models for sale: one YAML file that every service loads and validates the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml

ModelId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
Capability = Literal["tools", "vision"]


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model for sale; models.yaml documents the fields."""

    id: ModelId
    kind: Literal["chat"]
    tier: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,40}$")]
    # Credits for one request.
    price: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
    # Tokens of prompt and answer together.
    context: Annotated[int, msgspec.Meta(ge=16)]
    aliases: tuple[ModelId, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    reasoning: bool = False
    owned_by: str = "tiermesh"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: Annotated[list[Model], msgspec.Meta(min_length=1)]


class CatalogError(ValueError):
    """The catalog file is missing or wrong; the message names the file and the place in it."""


class Catalog:
    """The models for sale, found by id or alias."""

    def __init__(self, models: list[Model]) -> None:
        self.models = tuple(models)
        self._by_name: dict[str, Model] = {}
        for model in models:
            for name in (model.id, *model.aliases):
                if name in self._by_name:
                    raise CatalogError(f"the name {name!r} is used twice")
                self._by_name[name] = model

    def get(self, name: str) -> Model | None:
        """Returns the model with this id or alias, or None."""
        return self._by_name.get(name)

    def tier(self, tier: str) -> list[Model]:
        """Returns the models of one tier."""
        return [model for model in self.models if model.tier == tier]


def load_catalog(path: str | Path) -> Catalog:
    """Loads and validates a catalog file; raises CatalogError."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return Catalog(msgspec.convert(content, _File).models)
    except OSError as error:
        raise CatalogError(f"cannot read the catalog {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CatalogError(f"the catalog {path} is not valid YAML: {error}") from error
    except (msgspec.ValidationError, CatalogError) as error:
        raise CatalogError(f"the catalog {path} is wrong: {error}") from error
