"""What servers tell of themselves, written by hand after the sources that the recordings name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODEL = "model"


def listed(*entries: dict[str, Any]) -> dict[str, Any]:
    """Returns a list of models."""
    return {"object": "list", "data": [{"object": "model", "created": 1, **entry} for entry in entries]}


_PROPERTIES = {"total_slots": 2, "default_generation_settings": {"n_ctx": 2048}}
_LOADED = {"id": f"{MODEL}:2", "config": {"context_length": 4096, "flash_attention": True, "parallel": 4}}
# By path, what each server answers; it has nothing at other paths.
SERVERS: dict[str, Mapping[str, Any]] = {
    "llama.cpp": {"/v1/models": listed({"id": MODEL, "owned_by": "llamacpp"}), "/props": _PROPERTIES},
    "vLLM": {
        "/v1/models": listed(
            {"id": MODEL, "owned_by": "vllm", "root": MODEL, "parent": None, "max_model_len": 2048, "permission": []}
        )
    },
    "SGLang": {
        "/v1/models": listed({"id": MODEL, "owned_by": "sglang", "root": MODEL, "parent": None, "max_model_len": 2048})
    },
    # The list has the names alone; all else is at /props, as llama.cpp has it.
    "TabbyAPI": {
        "/v1/models": listed({"id": MODEL, "owned_by": "tabbyAPI", "logging": None, "parameters": None}),
        "/props": {**_PROPERTIES, "chat_template": "{{ messages[0].content }}"},
    },
    "Ollama": {
        "/v1/models": listed({"id": f"{MODEL}:latest", "owned_by": "library"}),
        "/api/ps": {
            "models": [
                {"name": "other:latest", "model": "other:latest", "context_length": 512},
                {"name": f"{MODEL}:latest", "model": f"{MODEL}:latest", "context_length": 4096},
            ]
        },
    },
    "Ollama, not loaded": {
        "/v1/models": listed({"id": "hf.co/someone/model:Q4", "owned_by": "someone"}),
        "/api/ps": {"models": []},
    },
    # Its list has no owner in the documentation.
    "LM Studio": {
        "/v1/models": listed({"id": MODEL}, {"id": f"{MODEL}:2"}, {"id": "thinker"}),
        "/api/v1/models": {
            "models": [
                {"type": "embedding", "key": "embedding", "loaded_instances": []},
                {"type": "llm", "key": MODEL, "loaded_instances": [_LOADED], "max_context_length": 131072},
                {
                    "type": "llm",
                    "key": "thinker",
                    "loaded_instances": [],
                    "max_context_length": 131072,
                    "capabilities": {
                        "trained_for_tool_use": True,
                        "reasoning": {"allowed_options": ["off", "on"], "default": "on"},
                    },
                },
            ]
        },
    },
    "another": {"/v1/models": listed({"id": MODEL, "owned_by": "someone", "context_length": 1024})},
    # Transformers had a list of names there.
    "odd owner": {"/v1/models": listed({"id": MODEL, "owned_by": ["a", "b"]}, {"name": "no id"})},
}
