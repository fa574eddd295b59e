"""What servers tell about their models beyond OpenAI's list of them, each at a path and in a form of its own."""

from __future__ import annotations

from typing import Literal

import msgspec

from services.common.catalog import Kind


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one model; 0 or empty where nothing is."""

    # Tokens of each conversation, and conversations at once, as the model is loaded now.
    context: int = 0
    slots: int = 0
    chat_template: str = ""
    # Whether the model thinks, and nothing in a request turns it off.
    thinks: bool = False
    # The kinds of work that it does, its own first; None if that is not told.
    kinds: tuple[Kind, ...] | None = None


class Form(msgspec.Struct):
    """The form of an answer that tells something."""

    def told(self, model: str) -> Told:
        """Returns what it tells of a model."""
        raise NotImplementedError


class _Generation(msgspec.Struct):
    n_ctx: int = 0


class Properties(Form):
    """`/props` of llama.cpp and TabbyAPI, which is about the one model that is loaded, whatever its name."""

    default_generation_settings: _Generation = msgspec.field(default_factory=_Generation)
    total_slots: int = 0
    chat_template: str = ""

    def told(self, model: str) -> Told:
        """Returns all of it."""
        del model
        context = self.default_generation_settings.n_ctx
        return Told(context=context, slots=self.total_slots, chat_template=self.chat_template)


class _Running(msgspec.Struct):
    model: str
    context_length: int = 0


class Running(Form):
    """Ollama's `/api/ps`: the models that are loaded."""

    models: list[_Running]

    def told(self, model: str) -> Told:
        """Returns how the model is loaded, if it is."""
        for each in self.models:
            if _full_name(each.model) == _full_name(model):
                return Told(context=each.context_length)
        return Told()


_CAPABILITIES: dict[str, Kind] = {"completion": "chat", "embedding": "embedding", "audio": "transcription"}


class _Tagged(msgspec.Struct):
    model: str
    capabilities: list[str] | None = None


class Tags(Form):
    """Ollama's `/api/tags`: all models, and what each can do."""

    models: list[_Tagged]

    def told(self, model: str) -> Told:
        """Returns the kinds of work that the model does, if they are told."""
        for each in self.models:
            if _full_name(each.model) == _full_name(model) and each.capabilities is not None:
                found = set(each.capabilities)
                return Told(kinds=tuple(kind for name, kind in _CAPABILITIES.items() if name in found))
        return Told()


class _Config(msgspec.Struct):
    context_length: int = 0
    parallel: int | None = None


class _Instance(msgspec.Struct):
    id: str
    config: _Config


class _Reasoning(msgspec.Struct):
    default: str = "on"


class _Capabilities(msgspec.Struct):
    reasoning: _Reasoning | None = None


class _Stored(msgspec.Struct):
    type: str
    key: str
    loaded_instances: list[_Instance]
    capabilities: _Capabilities | None = None


class Instances(Form):
    """LM Studio's `/api/v1/models`: all models, and each with its loaded instances."""

    models: list[_Stored]

    def told(self, model: str) -> Told:
        """Returns how the first instance of the model is loaded, if there is one, and whether the model thinks."""
        for stored in self.models:
            named = [each for each in stored.loaded_instances if model in {stored.key, each.id}]
            if named or model == stored.key:
                config = named[0].config if named else _Config()
                reasoning = (stored.capabilities or _Capabilities()).reasoning
                thinks = reasoning is not None and reasoning.default != "off"
                kind: Kind = "embedding" if stored.type == "embedding" else "chat"
                return Told(context=config.context_length, slots=config.parallel or 0, thinks=thinks, kinds=(kind,))
        return Told()


class _Speaking(msgspec.Struct):
    id: str
    task: str


class SpeakingModels(Form):
    """The `/v1/audio/models` of speaches: the models that speak, all of which its list of models has too."""

    object: Literal["list"]
    models: list[_Speaking]

    def told(self, model: str) -> Told:
        """Returns nothing: what kind a model has stands in the list of models."""
        del model
        return Told()


class Painting(Form):
    """The `/sdcpp/v1/capabilities` of stable-diffusion.cpp, which is about the one model that is loaded."""

    supported_modes: list[str]

    def told(self, model: str) -> Told:
        """Returns whether the model makes images."""
        del model
        return Told(kinds=("image",) if "img_gen" in self.supported_modes else ())


def _full_name(model: str) -> str:
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"
