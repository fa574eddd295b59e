"""What servers lack or spell differently, as data: a server is known by how it lists its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Quirks:
    """How one kind of server differs from OpenAI's API."""

    # For people.
    name: str
    # How it spells parameters of open models; those that it lacks are refused.
    parameters: Mapping[str, str] = field(default_factory=dict)
    # Whether chat templates get variables, such as the one that turns thinking on and off.
    template_variables: bool = False
    # What it needs in each request to report usage, progress and the like.
    always: Mapping[str, Any] = field(default_factory=dict)
    # Whether it tells its context, its slots and its chat template at /props.
    properties: bool = False


_OPEN = {"top_k": "top_k", "min_p": "min_p"}
# By the `owned_by` of the models that they list.
_KNOWN = {
    "llamacpp": Quirks(
        "llama.cpp",
        {**_OPEN, "repetition_penalty": "repeat_penalty"},
        template_variables=True,
        always={"return_progress": True},
        properties=True,
    ),
    "vllm": Quirks("vLLM", {**_OPEN, "repetition_penalty": "repetition_penalty"}, template_variables=True),
    "sglang": Quirks("SGLang", {**_OPEN, "repetition_penalty": "repetition_penalty"}, template_variables=True),
}
_UNKNOWN = Quirks("a server of an unknown kind")


def quirks_of(owner: str) -> Quirks:
    """Returns the quirks of the server whose models have this owner."""
    return _KNOWN.get(owner.lower(), _UNKNOWN)
