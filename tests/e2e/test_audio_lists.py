"""What Open WebUI asks for before it offers voices: without a key, and every voice that it gets can be used."""

from __future__ import annotations

import httpx2
import openai
import pytest

from tests.support.mesh import LocalMesh


@pytest.fixture(scope="module")
def voices(real_mesh: LocalMesh) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = httpx2.get(real_mesh.base_url + "/audio/voices").raise_for_status().json()["voices"]
    return listed


def test_models_that_speak_need_no_key(real_mesh: LocalMesh) -> None:
    listed = httpx2.get(real_mesh.base_url + "/audio/models").raise_for_status().json()
    assert listed == {"models": [{"id": "tiermesh-speech", "name": "tiermesh-speech"}]}


def test_voices_are_those_of_the_list_of_models(client: openai.OpenAI, voices: list[dict[str, str]]) -> None:
    model = client.models.retrieve("tiermesh-speech").model_dump()
    assert [voice["id"] for voice in voices] == model["supported_voices"]


def test_each_voice_speaks(client: openai.OpenAI, voices: list[dict[str, str]]) -> None:
    for voice in voices:
        spoken = client.audio.speech.create(
            model="tiermesh-speech", input="Hi.", voice=voice["id"], response_format="wav"
        )
        assert spoken.read().startswith(b"RIFF")
