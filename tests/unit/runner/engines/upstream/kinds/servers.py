"""What servers tell of themselves and their models beside chats, written by hand after their sources.

vLLM 0.33.0 and vLLM-Omni, SGLang 0.5.23, Ollama 0.33.0-rc2, speaches at commit 870e1e1, Kokoro-FastAPI at commit
26eec06, stable-diffusion.cpp at commit 97d2990 and TabbyAPI at commit e632af4.
"""

from __future__ import annotations

from typing import Any

from tests.support.recorded_server import Answer, refusal
from tests.unit.runner.engines.upstream.listings import listed

MODEL = "model"
WHISPER, KOKORO = "Systran/faster-whisper-tiny", "speaches-ai/Kokoro-82M-v1.0-ONNX"
_LISTENING = {"id": WHISPER, "owned_by": "Systran", "language": ["en", "de"], "task": "automatic-speech-recognition"}
_SPEAKING = {
    "id": KOKORO,
    "owned_by": "speaches-ai",
    "language": ["multilingual"],
    "task": "text-to-speech",
    "sample_rate": 24000,
    "voices": [{"name": "af_heart", "language": "en-us", "gender": "female", "id": "af_heart"}],
}
_CLASSIFYING = {"id": "pyannote", "owned_by": "speaches-ai", "task": "speaker-embedding"}


def openai_like(owner: str, **more: Any) -> dict[str, Answer]:
    """Returns what a server tells that has one model, and nothing but the owner to tell it by."""
    return {"/v1/models": listed({"id": MODEL, "owned_by": owner, **more})}


SERVERS: dict[str, dict[str, Answer]] = {
    "vLLM": openai_like("vllm", max_model_len=512),
    "SGLang": openai_like("sglang", max_model_len=512),
    "speaches": {
        "/v1/models": listed(_LISTENING, _SPEAKING, _CLASSIFYING),
        "/v1/audio/models": {"models": [_SPEAKING], "object": "list"},
        # It has this path of Ollama's.
        "/api/ps": {"models": []},
    },
    "Kokoro-FastAPI": {
        "/v1/models": listed(*({"id": name, "owned_by": "kokoro"} for name in ("tts-1", "kokoro"))),
        "/v1/audio/voices": {"voices": [{"id": "af_heart", "name": "af_heart"}, {"id": "bm_George", "name": "x"}]},
    },
    "Ollama": {
        "/v1/models": listed({"id": "all-minilm:latest", "owned_by": "library"}, {"id": "gemma:4b", "owned_by": "x"}),
        "/api/ps": {"models": [{"name": "all-minilm:latest", "model": "all-minilm:latest", "context_length": 256}]},
        "/api/tags": {
            "models": [
                {"name": "all-minilm:latest", "model": "all-minilm:latest", "capabilities": ["embedding"]},
                {"name": "gemma:4b", "model": "gemma:4b", "capabilities": ["completion", "vision", "audio"]},
            ]
        },
    },
    "stable-diffusion.cpp": {
        "/v1/models": listed({"id": "sd-cpp-local", "owned_by": "local"}),
        "/sdcpp/v1/capabilities": {"model": {"name": "x"}, "supported_modes": ["img_gen"], "current_mode": "img_gen"},
    },
    # What embeds is not in the list of the others, and `/props` is about them.
    "TabbyAPI": {
        "/v1/models": listed({"id": "chats", "owned_by": "tabbyAPI"}),
        "/v1/model/embedding/list": listed({"id": MODEL, "owned_by": "tabbyAPI"}),
        "/props": refusal(503),
    },
    "another": openai_like("someone"),
    "another mesh": openai_like("tiermesh", kind="transcription"),
}
