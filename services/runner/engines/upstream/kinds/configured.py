"""The engine that the settings of a runner ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from services.common.catalog import Kind
from services.common.settings import split_list
from services.runner.engines.base import AnyEngine
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.chat import ChatServerEngine
from services.runner.engines.upstream.kinds.embedding import EmbeddingServerEngine
from services.runner.engines.upstream.kinds.image import ImageServerEngine
from services.runner.engines.upstream.kinds.speech import SpeechServerEngine
from services.runner.engines.upstream.kinds.transcription import TranscriptionServerEngine
from services.runner.settings import RunnerSettings


def configured_engine(settings: RunnerSettings, shorter: Sequence[int]) -> AnyEngine:
    """Returns an engine that has not been started yet; vectors may be cut to `shorter` sizes."""
    upstream = Upstream(url=settings.upstream_url, key=settings.upstream_key, model=settings.upstream_model)
    builders: dict[Kind, Callable[[], AnyEngine]] = {
        "chat": partial(ChatServerEngine, upstream, slots=settings.slots, context=settings.context),
        "embedding": partial(
            EmbeddingServerEngine, upstream, slots=settings.slots, context=settings.context, shorter=shorter
        ),
        "speech": partial(
            SpeechServerEngine, upstream, slots=settings.slots, voices=split_list(settings.upstream_voices)
        ),
        "transcription": partial(
            TranscriptionServerEngine, upstream, slots=settings.slots, most_seconds=settings.max_audio_seconds
        ),
        "image": partial(ImageServerEngine, upstream, slots=settings.slots),
    }
    return builders[settings.upstream_kind]()
