"""Every format is made piece by piece, and read back by FFmpeg as what went in."""

from __future__ import annotations

import gc
import io
import math
import wave
from array import array
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import av
import psutil
import pytest

from services.common.errors import Code, MeshError
from services.runner.audio.decoding import decode
from services.runner.audio.encoders import available_formats, new_encoder

RATE = 16_000
SECONDS = 2.0
SAMPLES = array("h", [round(8000 * math.sin(at / 8)) for at in range(int(RATE * SECONDS))]).tobytes()


def encode(name: str, samples: bytes = SAMPLES) -> list[bytes]:
    encoder = new_encoder(name, RATE)
    piece = RATE
    return [
        *(encoder.encode(samples[at : at + piece]) for at in range(0, len(samples), piece)),
        encoder.finish(),
    ]


@pytest.mark.parametrize(
    ("name", "rate"), [("mp3", RATE), ("opus", 48_000), ("aac", RATE), ("flac", RATE), ("wav", RATE)]
)
def test_a_file_is_what_its_name_says(name: str, rate: int) -> None:
    pieces = encode(name)
    # The first bytes are there long before the last sample.
    assert pieces[0]
    with av.open(io.BytesIO(b"".join(pieces)), "r") as container:
        frames = list(container.decode(audio=0))
        assert container.streams.audio[0].layout.name in {"mono", "1 channels"}
    assert {frame.sample_rate for frame in frames} == {rate}
    # Codecs round up to whole frames.
    assert sum(frame.samples for frame in frames) / rate == pytest.approx(SECONDS, abs=0.15)


def test_pcm_is_samples_at_24_khz() -> None:
    assert len(b"".join(encode("pcm"))) == 2 * 24_000 * SECONDS


def test_a_wave_file_says_that_its_length_is_unknown() -> None:
    content = b"".join(encode("wav"))
    assert content[4:8] == content[40:44] == b"\xff\xff\xff\xff"
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
    assert content[44:] == SAMPLES


def test_without_samples_there_is_an_empty_file() -> None:
    assert len(b"".join(encode("wav", b""))) == 44
    assert b"".join(encode("pcm", b"")) == b""


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav"])
def test_uploads_are_read_back(name: str) -> None:
    samples = decode(b"".join(encode(name)), 10, lambda: False)
    assert len(samples) / 2 / RATE == pytest.approx(SECONDS, abs=0.15)


def refusal(content: bytes, most_seconds: float = 10) -> MeshError:
    with pytest.raises(MeshError) as caught:
        decode(content, most_seconds, lambda: False)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, "file")
    return caught.value


def test_long_recordings_are_refused() -> None:
    assert "longer than 1.5 seconds" in refusal(b"".join(encode("flac")), 1.5).message


@pytest.mark.parametrize("content", [b"", b"x" * 1000, b"RIFF", b"\x7fELF" + bytes(500), b"ID3" + bytes(400), b"OggS"])
def test_what_is_not_a_recording_is_refused(content: bytes) -> None:
    assert "mp3, mp4" in refusal(content).message


def test_a_recording_that_breaks_off_is_read_as_far_as_it_goes() -> None:
    content = b"".join(encode("mp3"))
    assert 0.5 < len(decode(content[: len(content) // 2], 10, lambda: False)) / 2 / RATE < 1.5


def test_a_playlist_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.wav").write_bytes(b"".join(encode("wav")))
    playlist = b"ffconcat version 1.0\nfile secret.wav\n"
    refusal(playlist)
    # Left to itself FFmpeg does open it.
    with av.open(io.BytesIO(playlist), "r") as container:
        assert next(container.decode(audio=0)).samples


def test_reading_stops_when_nobody_waits() -> None:
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return True

    assert len(decode(b"".join(encode("mp3")), 10, stopped)) < len(SAMPLES) / 4
    assert asked == 1


def test_without_the_library_the_plain_formats_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_formats() == ("mp3", "opus", "aac", "flac", "pcm", "wav")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert available_formats() == ("wav",)


@pytest.mark.parametrize("name", available_formats())
def test_a_file_that_is_left_in_the_middle_leaves_no_memory_taken(name: str) -> None:
    def leave(times: int) -> int:
        for _ in range(times):
            with closing(new_encoder(name, RATE)) as encoder:
                encoder.encode(SAMPLES)
        gc.collect()
        return int(psutil.Process().memory_info().rss)

    # Left open, 35 files of MP3 take 1.5 MB, and the next 35 as much again. What the process takes once is not counted.
    taken = [leave(10), leave(35), leave(35), leave(35)]
    assert min(after - before for before, after in pairwise(taken)) < 500_000


@pytest.mark.parametrize("name", available_formats())
def test_closing_after_the_end_is_harmless(name: str) -> None:
    encoder = new_encoder(name, RATE)
    encoder.encode(SAMPLES)
    encoder.finish()
    encoder.close()
    encoder.close()
    # Nor does it need a beginning.
    new_encoder(name, RATE).close()
