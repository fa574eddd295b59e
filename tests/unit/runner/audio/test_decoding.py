"""Damaged recordings: what cannot be decoded is left out, and all that follows is there."""

from __future__ import annotations

import io
import math
import random
from array import array

import av
import pytest

from services.runner.audio.decoding import RATE, decode

SECONDS = 12
# Quiet, and loud in the last second, so that the end is known by its sound.
SAMPLES = array(
    "h", [round((12_000 if at >= RATE * (SECONDS - 1) else 2000) * math.sin(at / 8)) for at in range(RATE * SECONDS)]
)
CONTAINERS = [
    ("libmp3lame", "mp3"),
    ("aac", "adts"),
    ("aac", "mp4"),
    ("aac", "matroska"),
    ("libopus", "ogg"),
    ("libopus", "webm"),
    ("flac", "flac"),
    ("mp2", "mpeg"),
    ("pcm_s16le", "wav"),
    ("adpcm_ima_wav", "wav"),
]


def recording(codec: str, container: str, samples: array[int] = SAMPLES, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    # Short clusters, as recorders of browsers write them.
    options = {"cluster_time_limit": "500"} if container in {"webm", "matroska"} else {}
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=48_000 if codec == "libopus" else rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate = rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def damaged(content: bytes, share: float, length: int = 400) -> bytes:
    start = int(len(content) * share)
    noise = random.Random(share).randbytes(length)
    return content[:start] + noise + content[start + length :]


def decoded(content: bytes) -> array[int]:
    return array("h", decode(content, 60, lambda: False))


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5, 0.7, 0.85])
@pytest.mark.parametrize(("codec", "container"), CONTAINERS)
def test_damage_takes_no_more_than_what_it_hits(codec: str, container: str, share: float) -> None:
    samples = decoded(damaged(recording(codec, container), share))
    assert len(samples) / RATE == pytest.approx(SECONDS, rel=0.2)
    assert max(samples[-RATE // 2 :]) > 6000


def test_damage_in_many_places_takes_no_more_than_what_it_hits() -> None:
    content = recording("libmp3lame", "mp3")
    for share in range(10, 90, 10):
        content = damaged(content, share / 100, 100)
    samples = decoded(content)
    assert len(samples) / RATE > 0.8 * SECONDS
    assert max(samples[-RATE // 2 :]) > 6000


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_a_recording_that_goes_on_in_another_form_is_read_to_its_end(rate: int) -> None:
    first = recording("libmp3lame", "mp3")
    second = recording("libmp3lame", "mp3", SAMPLES[: RATE * 2], RATE) + recording(
        "libmp3lame", "mp3", SAMPLES[: rate * 2], rate
    )
    assert len(decoded(first + second)) / RATE == pytest.approx(SECONDS + 4, abs=0.5)


def test_noise_after_a_header_is_refused_or_short() -> None:
    content = recording("libmp3lame", "mp3")
    noise = content[:2000] + random.Random(1).randbytes(200_000)
    assert len(decoded(noise)) / RATE < 60
