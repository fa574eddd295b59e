"""What each kind of server is asked with, and what it is not asked for."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.errors import Code, MeshError
from services.runner.engines.upstream.body import request_body
from services.runner.engines.upstream.quirks import KINDS, UNKNOWN, Quirks, quirks_of
from services.runner.engines.upstream.server import UpstreamServer
from services.runner.kinds.conversation.job import ConversationJob
from services.runner.kinds.text.job import Sampling

NEUTRAL: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}
REPETITION = {
    "llama.cpp": "repeat_penalty",
    "vLLM": "repetition_penalty",
    "SGLang": "repetition_penalty",
    "TabbyAPI": "repetition_penalty",
    "LM Studio": "repeat_penalty",
}
CHATTING = [quirks for quirks in KINDS if "chat" in (quirks.kinds or ("chat",))]
every_kind = pytest.mark.parametrize("quirks", [*CHATTING, UNKNOWN], ids=lambda quirks: quirks.name)


def body(quirks: Quirks, **fields: Any) -> dict[str, Any]:
    sampling = Sampling(**NEUTRAL | fields.pop("sampling", {}))
    job = ConversationJob("request", [{"role": "user", "content": "Hello"}], sampling, **fields)
    return request_body(job, UpstreamServer("http://server/v1", "model", quirks))


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("llamacpp", "llama.cpp"),
        ("vllm", "vLLM"),
        ("sglang", "SGLang"),
        ("tabbyAPI", "TabbyAPI"),
        ("library", UNKNOWN.name),
        ("openai", UNKNOWN.name),
        ("", UNKNOWN.name),
    ],
)
def test_the_kind_of_a_server_by_the_owner_of_its_models(owner: str, name: str) -> None:
    assert quirks_of(owner).name == name


@every_kind
def test_a_plain_request_says_nothing_that_only_some_servers_know(quirks: Quirks) -> None:
    known = {"model", "messages", "stream", "stream_options", "temperature", "top_p"}
    extra = {"chat_template_kwargs"} if quirks.template_variables else set()
    assert set(body(quirks, thinking=True)) == known | extra | quirks.always.keys()


@every_kind
@pytest.mark.parametrize(("parameter", "value"), [("top_k", 40), ("min_p", 0.1), ("repetition_penalty", 1.1)])
def test_parameters_of_open_models_are_spelled_or_refused(quirks: Quirks, parameter: str, value: float) -> None:
    spelled = REPETITION.get(quirks.name) if parameter == "repetition_penalty" else parameter
    lacks = quirks.name in {"Ollama", UNKNOWN.name} or (quirks.name, parameter) == ("LM Studio", "min_p")
    if not lacks:
        assert spelled is not None
        assert body(quirks, sampling={parameter: value})[spelled] == value
        return
    with pytest.raises(MeshError) as refusal:
        body(quirks, sampling={parameter: value})
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, parameter)


@every_kind
def test_a_parameter_that_is_ignored_is_refused(quirks: Quirks) -> None:
    if quirks.name != "TabbyAPI":
        assert body(quirks, sampling={"seed": 7})["seed"] == 7
        return
    with pytest.raises(MeshError, match="'seed' is not served by this model: its server ignores it") as refusal:
        body(quirks, sampling={"seed": 7})
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "seed")


@every_kind
def test_how_a_model_is_told_not_to_think(quirks: Quirks) -> None:
    """Ollama's chat templates get no variables: there the effort says it, and without one its models think."""
    said = body(quirks, thinking=False)
    variables = {"enable_thinking": False, "thinking": False} if quirks.template_variables else None
    assert said.get("chat_template_kwargs") == variables
    assert said.get("reasoning_effort") == ("none" if quirks.name == "Ollama" else None)


@every_kind
def test_how_much_a_model_is_to_think(quirks: Quirks) -> None:
    assert body(quirks, thinking=True, effort="high")["reasoning_effort"] == "high"


@every_kind
def test_a_schema_is_named_and_wrapped(quirks: Quirks) -> None:
    """TabbyAPI takes the whole of it for the schema, unless it finds a name in it."""
    wanted = body(quirks, schema={"type": "object"})["response_format"]["json_schema"]
    assert wanted == {"name": "answer", "schema": {"type": "object"}, "strict": True}
