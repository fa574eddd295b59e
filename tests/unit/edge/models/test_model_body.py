"""What the list says of a model is true of the requests that it takes."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from services.common.catalog import Kind, Model, load_catalog
from services.common.settings import DEFAULT_CATALOG
from services.edge.chat.request import ChatBody
from services.edge.embeddings.request import EmbeddingsBody
from services.edge.images.request import ImageBody
from services.edge.models.model_body import ModelBody, model_body
from services.edge.models.supported_parameters import supported_parameters
from services.edge.speech.request import SpeechBody
from services.edge.transcriptions.request import TranscriptionFields

BODIES: dict[Kind, type[msgspec.Struct]] = {
    "chat": ChatBody,
    "embedding": EmbeddingsBody,
    "speech": SpeechBody,
    "transcription": TranscriptionFields,
    "image": ImageBody,
}
MODELS = load_catalog(DEFAULT_CATALOG).models
# Says what `response_format` can be, and is no field.
WORDS = {"structured_outputs"}


def chat(**changes: object) -> Model:
    return msgspec.structs.replace(Model(id="m", kind="chat", tier="t", price=1, context=4096), **changes)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_every_parameter_is_a_field_of_the_request(model: Model) -> None:
    names = supported_parameters(model)
    assert set(names) - WORDS <= set(BODIES[model.kind].__struct_fields__)
    assert list(names) == sorted(set(names))


def test_tools_and_effort_belong_to_models_that_know_them() -> None:
    assert not {"tools", "tool_choice", "reasoning_effort"} & set(supported_parameters(chat()))
    assert {"tools", "tool_choice", "parallel_tool_calls"} <= set(supported_parameters(chat(capabilities=("tools",))))
    assert "reasoning_effort" in supported_parameters(chat(reasoning=True))


@pytest.mark.parametrize(
    ("kind", "word", "modality"),
    [
        ("chat", "chat", "text->text"),
        ("embedding", "embedding", "text->embeddings"),
        ("speech", "audio", "text->speech"),
        ("transcription", "transcribe", "audio->transcription"),
        ("image", "image", "text->image"),
    ],
)
def test_a_kind_is_said_in_the_words_that_pickers_know(kind: Kind, word: str, modality: str) -> None:
    body = model_body(Model(id="m", kind=kind, tier="t", price=1, context=4096), available=False)
    assert (body.type, body.architecture.modality, body.available) == (word, modality, False)


def test_a_model_that_sees_takes_images() -> None:
    architecture = model_body(chat(capabilities=("vision",)), available=True).architecture
    assert architecture.modality == "text+image->text"
    assert architecture.input_modalities == ("text", "image")


def test_the_context_is_told_in_both_words() -> None:
    body = model_body(chat(), available=True)
    assert (body.context_length, body.max_model_len) == (4096, 4096)
    spoken = model_body(Model(id="s", kind="speech", tier="t", price=1, voices=("alloy",)), available=True)
    assert (spoken.context_length, spoken.max_model_len, spoken.supported_voices) == (0, None, ("alloy",))


def test_voices_are_told_of_models_that_have_them() -> None:
    assert "supported_voices" not in msgspec.to_builtins(model_body(chat(), available=True))


def test_it_is_sold_from_the_beginning_of_its_day() -> None:
    assert model_body(chat(created=datetime.date(2026, 11, 21)), available=True).created == 1795219200
    assert model_body(chat(), available=True).created == 0
    assert all(model.created for model in MODELS)


def test_the_price_is_told_in_credits_and_dollars() -> None:
    body: ModelBody = model_body(chat(price=5), available=True)
    assert (body.pricing.unit, body.pricing.credits, body.pricing.usd) == ("request", 5, "0.05")
