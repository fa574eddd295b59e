"""How the calls for an engine are read, by the engine's kind."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

from services.common.clock import system_clock
from services.common.settings import SettingsError
from services.runner.engines.base import AnyEngine
from services.runner.kinds.base import WorkReader
from services.runner.kinds.conversation.job import ConversationEngine
from services.runner.kinds.conversation.reader import ConversationReader
from services.runner.kinds.embedding import EmbeddingEngine, EmbeddingReader
from services.runner.kinds.image import ImageReader
from services.runner.kinds.speech import SpeechEngine, SpeechReader
from services.runner.kinds.text.counting import PromptCounter
from services.runner.kinds.text.engine import TextEngine
from services.runner.kinds.text.prompt.controls import ControlTexts
from services.runner.kinds.text.prompt.template import ChatTemplate
from services.runner.kinds.text.reader import RequestReader
from services.runner.kinds.text.writer import TextReader
from services.runner.kinds.transcription import TranscriptionEngine, TranscriptionReader


def work_reader(engine: AnyEngine) -> WorkReader[Any, Any]:
    """Returns the reader for a started engine; raises SettingsError for a model that cannot be served."""
    if isinstance(engine, TextEngine):
        return TextReader(_request_reader(engine))
    if isinstance(engine, ConversationEngine):
        return ConversationReader(engine.context)
    if isinstance(engine, EmbeddingEngine):
        return EmbeddingReader(engine.dimensions)
    if isinstance(engine, SpeechEngine):
        return SpeechReader(engine.voices, engine.formats)
    if isinstance(engine, TranscriptionEngine):
        return TranscriptionReader(engine.languages)
    if engine.kind == "image":
        return ImageReader()
    raise ValueError(f"the engine {engine.name} is of kind {engine.kind}, which has no reader")


def prompt_counter(engine: AnyEngine) -> PromptCounter | None:
    """Returns what counts the tokens of prompts for a started engine; None for an engine without any."""
    return PromptCounter(engine, partial(_request_reader, engine)) if isinstance(engine, TextEngine) else None


def _request_reader(engine: TextEngine) -> RequestReader:
    controls = ControlTexts(engine.control_texts)
    return RequestReader(
        _chat_template(engine, controls),
        controls=controls,
        detokenize=engine.detokenize,
        vocabulary=engine.vocabulary,
        context=engine.context,
        new_call_id=lambda: f"call_{secrets.token_hex(12)}",
    )


def _chat_template(engine: TextEngine, controls: ControlTexts) -> ChatTemplate:
    try:
        return ChatTemplate(engine.chat_template, controls=controls, clock=system_clock)
    except ValueError as error:
        # The operator chose the model.
        raise SettingsError(str(error)) from error
