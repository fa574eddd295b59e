from __future__ import annotations

import json
from typing import Any, cast

from services.common.catalog import Catalog, Model
from services.edge.speech.lists import AudioLists

CATALOG = Catalog(
    [
        Model(id="chats", kind="chat", tier="a", price=1, context=100),
        Model(id="speaks", kind="speech", tier="b", price=1, voices=("alloy", "nova")),
        Model(id="sings", kind="speech", tier="c", price=1, voices=("nova", "carmen")),
        Model(id="mumbles", kind="speech", tier="d", price=1),
    ]
)
REQUEST = cast("Any", None)


async def test_models_that_speak_are_listed() -> None:
    response = await AudioLists(CATALOG).models(REQUEST)
    assert json.loads(response.text or "") == {
        "models": [{"id": name, "name": name} for name in ("speaks", "sings", "mumbles")]
    }


async def test_each_voice_is_listed_once() -> None:
    response = await AudioLists(CATALOG).voices(REQUEST)
    assert json.loads(response.text or "") == {
        "voices": [{"id": name, "name": name} for name in ("alloy", "nova", "carmen")]
    }
