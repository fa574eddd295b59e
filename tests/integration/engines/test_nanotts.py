"""The speech engine with its real voices."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from py_nanotts import NanoTTS

from services.common.errors import Code, MeshError
from services.runner.audio.encoders import WavEncoder
from services.runner.engines.nanotts import NanoTtsEngine
from services.runner.engines.nanotts.voices import VOICES
from services.runner.kinds.base import FinishReason
from services.runner.kinds.speech import SpeechJob, SpeechStep
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
SENTENCE = "Today is a wonderful day to build something people love!"
HEADER = 44
LONG = f"{SENTENCE} " * 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started() -> AsyncIterator[NanoTtsEngine]:
    engine = NanoTtsEngine(slots=2)
    await engine.start()
    yield engine
    await engine.close()


@pytest_asyncio.fixture(loop_scope="module")
async def engine(started: NanoTtsEngine) -> AsyncIterator[NanoTtsEngine]:
    assert started.active == 0
    yield started
    await eventually(lambda: started.active == 0)


def healthy(engine: NanoTtsEngine) -> bool:
    # As a function, because the type checker takes a property to be constant.
    return engine.healthy


class Speaking:
    """A job and what it has said."""

    def __init__(self, engine: NanoTtsEngine, text: str, voice: str = "alloy", *, speed: float = 1.0):
        self.steps: list[SpeechStep] = []
        self.error: MeshError | None = None
        self.ends = 0
        self.ticket = engine.submit(SpeechJob("request", text, voice, "wav", speed), self._take)

    def _take(self, step: SpeechStep | MeshError) -> None:
        if isinstance(step, MeshError):
            self.error = step
            self.ends += 1
        else:
            self.steps.append(step)
            self.ends += step.finish_reason is not None

    async def end(self) -> Speaking:
        await eventually(lambda: self.ends > 0, 60)
        if self.error is not None:
            raise self.error
        return self

    @property
    def audio(self) -> bytes:
        return b"".join(step.audio for step in self.steps)

    @property
    def seconds(self) -> float:
        return (len(self.audio) - HEADER) / 32_000


async def test_a_text_is_spoken_and_counted(engine: NanoTtsEngine) -> None:
    speaking = await Speaking(engine, SENTENCE).end()
    last = speaking.steps[-1]
    assert last.finish_reason is FinishReason.STOP
    assert last.usage is not None
    assert last.usage.prompt_tokens == 10
    assert last.usage.completion_tokens == pytest.approx(speaking.seconds * 20, abs=1)
    assert 2 < speaking.seconds < 6


async def test_a_long_text_comes_piece_by_piece(engine: NanoTtsEngine) -> None:
    speaking = await Speaking(engine, SENTENCE + f" {SENTENCE}" * 9).end()
    assert sum(bool(step.audio) for step in speaking.steps) >= 5
    assert speaking.ends == 1


async def test_speed_changes_the_length(engine: NanoTtsEngine) -> None:
    normal = await Speaking(engine, SENTENCE).end()
    slow = await Speaking(engine, SENTENCE, speed=0.5).end()
    fast = await Speaking(engine, SENTENCE, speed=2.0).end()
    assert slow.seconds > 1.5 * normal.seconds
    assert fast.seconds < 0.75 * normal.seconds


async def test_every_voice_speaks(engine: NanoTtsEngine) -> None:
    assert all([(await Speaking(engine, "Hello 12.", voice).end()).seconds > 0.3 for voice in VOICES])


async def test_cancelling_frees_the_slot_and_stops(engine: NanoTtsEngine) -> None:
    speaking = Speaking(engine, LONG)
    await eventually(lambda: len(speaking.steps) > 0)
    speaking.ticket.cancel()
    speaking.ticket.cancel()
    said = len(speaking.steps)
    # Once its piece is spoken.
    await eventually(lambda: engine.active == 0)
    await asyncio.gather(Speaking(engine, "One.").end(), Speaking(engine, "Two.").end())
    assert len(speaking.steps) == said
    assert speaking.ends == 0


async def test_a_file_is_closed_however_its_speech_ends(engine: NanoTtsEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[WavEncoder] = []

    def close(encoder: WavEncoder) -> None:
        closed.append(encoder)

    monkeypatch.setattr(WavEncoder, "close", close)
    leaving = Speaking(engine, LONG)
    await eventually(lambda: len(leaving.steps) > 0)
    leaving.ticket.cancel()
    await eventually(lambda: len(closed) == 1)
    await Speaking(engine, "One.").end()
    await eventually(lambda: len(closed) == 2)


async def test_slots_are_bounded(engine: NanoTtsEngine) -> None:
    running = [Speaking(engine, LONG) for _ in range(2)]
    with pytest.raises(MeshError) as refusal:
        Speaking(engine, "One more.")
    assert refusal.value.code is Code.OVERLOADED
    for speaking in running:
        speaking.ticket.cancel()


async def test_tags_touch_no_files(engine: NanoTtsEngine, tmp_path: Path) -> None:
    text = f'Say <genfile file="{tmp_path}/made.wav">this</genfile> now.'
    # Pico itself obeys them.
    NanoTTS().speak(text, "en-US")
    assert (tmp_path / "made.wav").exists()
    (tmp_path / "made.wav").unlink()
    assert (await Speaking(engine, text).end()).seconds > 1
    assert not (tmp_path / "made.wav").exists()


@pytest.mark.parametrize("text", ["1" * 500, "1234567890" * 20, "\0\x01a\ud800", "ok 😀", "a\u0301" * 100])
async def test_odd_texts_are_spoken(engine: NanoTtsEngine, text: str) -> None:
    assert (await Speaking(engine, text).end()).seconds > 0.1


async def test_what_cannot_be_spoken_is_refused(engine: NanoTtsEngine) -> None:
    with pytest.raises(MeshError, match="no letter or digit") as refusal:
        await Speaking(engine, "\u2026!? <>").end()
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "input")


@pytest.mark.parametrize(
    "text",
    [
        "今天天气很好我们去公园散步吧你好世界今天",
        "日本語 ok",
        "The word привет means hello.",
        "Καλημέρα",
        "مرحبا بالعالم",
        "नमस्ते",
        "안녕하세요",
        "สวัสดี",
    ],
)
async def test_what_the_voice_cannot_read_is_refused(engine: NanoTtsEngine, text: str) -> None:
    speaking = Speaking(engine, text)
    with pytest.raises(MeshError, match="reads the Latin script") as refusal:
        await speaking.end()
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "input")
    # Nothing was sent, so nothing is charged.
    assert speaking.steps == []


@pytest.mark.parametrize("voice", ["en-us", "de-de", "it-it", "es-es", "fr-fr"])
@pytest.mark.parametrize(
    ("text", "plain"),
    [("Ąęłńśźż Łódź", "Aelnszz Lódz"), ("Tiếng Việt", "Tieng Viet"), ("ğışŞĞİ", "gisSGI"), ("٣٤٥", "345")],
)
async def test_letters_with_foreign_marks_are_as_long_as_plain_ones(
    engine: NanoTtsEngine, voice: str, text: str, plain: str
) -> None:
    marked = await Speaking(engine, text, voice).end()
    # No two readings of a text are quite the same.
    assert marked.seconds == pytest.approx((await Speaking(engine, plain, voice).end()).seconds, rel=0.05)


async def test_endless_speech_is_cut_off() -> None:
    engine = NanoTtsEngine(slots=1, most_seconds=20)
    await engine.start()
    # Every sign is read out by its name.
    with pytest.raises(MeshError, match="more than 20 seconds") as refusal:
        await Speaking(engine, "a#%$@*&" * 580).end()
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "input")
    await engine.close()


async def test_closing_ends_everything() -> None:
    threads = set(threading.enumerate())
    engine = NanoTtsEngine(slots=1)
    with pytest.raises(MeshError) as early:
        Speaking(engine, "Too early.")
    assert early.value.code is Code.UNAVAILABLE
    await engine.start()
    assert healthy(engine)
    speaking = Speaking(engine, LONG)
    await engine.close()
    with pytest.raises(MeshError) as closed:
        await speaking.end()
    assert closed.value.code is Code.UNAVAILABLE
    assert not healthy(engine)
    assert set(threading.enumerate()) <= threads
