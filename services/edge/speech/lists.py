"""GET /v1/audio/models and /v1/audio/voices: what Open WebUI asks for before it offers voices.

OpenAI has no such paths. Open WebUI sends no key with them, so they tell what the catalog says of models that speak,
and nothing else: neither prices nor whether a runner serves them.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web
from msgspec import Struct

from services.common.catalog import Catalog, Model
from services.edge.http.parsing import json_response


class AudioModel(Struct, frozen=True):
    """A model that reads texts aloud."""

    id: str
    name: str


class AudioModelList(Struct, frozen=True):
    """The models that read texts aloud."""

    models: list[AudioModel]


class AudioVoice(Struct, frozen=True):
    """A voice, by the name that a request chooses it by."""

    id: str
    name: str


class AudioVoiceList(Struct, frozen=True):
    """The voices of all models that read texts aloud."""

    voices: list[AudioVoice]


class AudioLists:
    """Serves both lists, which need no key."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def models(self, _request: web.Request) -> web.Response:
        """Answers GET /v1/audio/models."""
        return json_response(AudioModelList([AudioModel(model.id, model.id) for model in self._speaking()]))

    async def voices(self, _request: web.Request) -> web.Response:
        """Answers GET /v1/audio/voices: each voice once, in the order of the catalog."""
        names = dict.fromkeys(voice for model in self._speaking() for voice in model.voices)
        return json_response(AudioVoiceList([AudioVoice(name, name) for name in names]))

    def _speaking(self) -> Iterator[Model]:
        return (model for model in self._catalog.models if model.kind == "speech")
