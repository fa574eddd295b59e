"""How the calls for an engine are read, by the engine's kind."""

from __future__ import annotations

import secrets
from typing import Any

from services.common.clock import system_clock
from services.common.settings import SettingsError
from services.runner.engines.base import AnyEngine
from services.runner.kinds.base import WorkReader
from services.runner.kinds.embedding import EmbeddingEngine, EmbeddingReader
from services.runner.kinds.image import ImageReader
from services.runner.kinds.speech import SpeechEngine, SpeechReader
from services.runner.kinds.text.engine import TextEngine
from services.runner.kinds.text.prompt.controls import ControlTexts
from services.runner.kinds.text.prompt.template import ChatTemplate
from services.runner.kinds.text.reader import RequestReader
from services.runner.kinds.text.writer import TextReader
from services.runner.kinds.transcription import TranscriptionEngine, TranscriptionReader


def work_reader(engine: AnyEngine) -> WorkReader[Any, Any]:
    """Returns the reader for a started engine; raises SettingsError for a model that cannot be served."""
    if isinstance(engine, TextEngine):
        controls = ControlTexts(engine.control_texts)
        return TextReader(
            RequestReader(
                _chat_template(engine, controls),
                controls=controls,
                detokenize=engine.detokenize,
                vocabulary=engine.vocabulary,
                context=engine.context,
                new_call_id=lambda: f"call_{secrets.token_hex(12)}",
            )
        )
    if isinstance(engine, EmbeddingEngine):
        return EmbeddingReader(engine.dimensions)
    if isinstance(engine, SpeechEngine):
        return SpeechReader(engine.voices, engine.formats)
    if isinstance(engine, TranscriptionEngine):
        return TranscriptionReader(engine.languages)
    if engine.kind == "image":
        return ImageReader()
    raise ValueError(f"the engine {engine.name} is of kind {engine.kind}, which has no reader")


def _chat_template(engine: TextEngine, controls: ControlTexts) -> ChatTemplate:
    try:
        return ChatTemplate(engine.chat_template, controls=controls, clock=system_clock)
    except ValueError as error:
        # The operator chose the model.
        raise SettingsError(str(error)) from error
