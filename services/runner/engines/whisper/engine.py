"""Writes down recordings with Whisper (the package faster-whisper, which runs it on CTranslate2)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from services.common.extras import how_to_install
from services.runner.engines.threaded import ThreadedEngine, ThreadedJob, ThreadedJobs
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.prompt.controls import ControlTexts, pieces
from services.runner.kinds.transcription import Segment, TranscriptionJob, TranscriptionStep, Word

# The encoder makes 1,500 positions of 30 seconds (Radford et al., "Robust Speech Recognition via Large-Scale Weak
# Supervision", 2022, section 2.2): they are what is counted as audio tokens.
_POSITIONS_PER_SECOND = 50
# A large model may take minutes on a CPU for one window of 30 seconds.
_STALL_SECONDS = 600.0
# The decoder may repeat itself at the lowest temperature. Whisper's authors then try the next one (section 4.5), in
# steps of 0.2. Each try writes up to 448 tokens, so a recording that no temperature helps would take twice as long.
_TEMPERATURES = (0.0, 0.4, 0.8)


class _StoppedError(Exception):
    """Nobody waits for the recording that this thread listens to."""


class WhisperEngine(ThreadedEngine[TranscriptionJob, TranscriptionStep]):
    """Writes down up to `slots` recordings at once, each on `threads` CPU threads.

    `path` is a folder with a Whisper model for CTranslate2; recordings may last `most_seconds`.
    """

    def __init__(self, path: Path, *, slots: int = 2, threads: int = 1, most_seconds: float = 1800.0) -> None:
        jobs: ThreadedJobs[TranscriptionStep] = ThreadedJobs(
            "whisper", slots=slots, threads=slots, stall_seconds=_STALL_SECONDS
        )
        super().__init__("whisper", "transcription", jobs)
        self._path = path
        self._cpu_threads = threads
        self._most_seconds = most_seconds
        self._model: Any = None
        self._controls = ControlTexts()
        # What each thread works on, as its attribute `running`.
        self._here = threading.local()

    @property
    def languages(self) -> Collection[str]:
        """The languages that the model knows; known after `start`."""
        return frozenset(self._model.supported_languages)

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE, waits until its threads have stopped, and frees the model."""
        await super().close()
        self._model = None

    def _load(self) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            message = f"the engine whisper needs the package faster-whisper: {how_to_install('transcription')}"
            raise RuntimeError(message) from error
        self._model = WhisperModel(
            str(self._path),
            device="cpu",
            compute_type="int8",
            cpu_threads=self._cpu_threads,
            num_workers=self.slots,
            local_files_only=True,
        )
        self._model.encode = partial(self._encode, self._model.encode)
        added = self._model.hf_tokenizer.get_added_tokens_decoder()
        self._controls = ControlTexts(token.content for token in added.values())

    def _encode(self, encode: Callable[[Any], Any], features: Any) -> Any:
        """Stops the library before each window of 30 seconds: in silence it goes on without coming back to us."""
        if self._here.running.cancelled:
            raise _StoppedError
        return encode(features)

    def _work(self, job: TranscriptionJob, running: ThreadedJob[TranscriptionStep]) -> None:
        self._here.running = running
        with suppress(_StoppedError):
            running.produce_each(self._steps(job, lambda: running.cancelled))

    def _steps(self, job: TranscriptionJob, stopped: Callable[[], bool]) -> Iterator[TranscriptionStep]:
        # These are there only where the engine runs.
        import numpy as np

        from services.runner.audio.decoding import RATE, decode
        from services.runner.engines.whisper.voice_activity import spoken_spans

        samples = decode(job.audio, self._most_seconds, stopped)
        if stopped():
            return
        duration = len(samples) / 2 / RATE
        sound = np.frombuffer(samples, dtype=np.int16).astype(np.float32)
        sound /= 32768
        spans = spoken_spans(sound)
        language = job.language or self._only_language()
        tokens = 0
        if spans:
            segments, info = self._model.transcribe(
                sound,
                language=job.language,
                initial_prompt=self._prompt_tokens(job.prompt),
                # As OpenAI defines it: 0 lets the model choose.
                temperature=job.temperature or _TEMPERATURES,
                beam_size=1,
                # Five samples, the library's default, make the highest temperatures three times as slow.
                best_of=1,
                clip_timestamps=spans,
                word_timestamps=job.words,
            )
            language = info.language
            for segment in segments:
                tokens += len(segment.tokens)
                yield TranscriptionStep(_segment(segment, _end_of_speech(spans, segment.start, duration)))
        usage = TokenCounts(round(duration * _POSITIONS_PER_SECOND), tokens)
        yield TranscriptionStep(None, language, duration, FinishReason.STOP, usage)

    def _prompt_tokens(self, prompt: str) -> list[int] | None:
        """Returns a prompt as tokens, none of them a control token; None for an empty one."""
        if not prompt:
            return None
        # As the library spells a prompt.
        text = " " + prompt.strip()
        parts = pieces(text, self._controls.cuts(text))
        encode = self._model.hf_tokenizer.encode
        return [token for part in parts for token in encode(part, add_special_tokens=False).ids]

    def _only_language(self) -> str:
        """Returns the language of a model that knows one, else an empty text."""
        languages = self.languages
        return next(iter(languages)) if len(languages) == 1 else ""


def _end_of_speech(spans: Sequence[float], start: float, duration: float) -> float:
    """Returns where the speech ends that a phrase begins in; `spans` are beginnings and ends in turn, in seconds."""
    # The library rounds a beginning to hundredths.
    ends = [end for begin, end in zip(spans[::2], spans[1::2], strict=True) if begin <= start + 0.01]
    return min(ends[-1], duration) if ends else duration


def _segment(segment: Any, latest: float) -> Segment:
    """Returns a phrase of faster-whisper as ours, which ends at `latest` if the model says that it ends later."""
    return Segment(
        start=min(segment.start, latest),
        end=min(segment.end, latest),
        text=segment.text,
        token_ids=tuple(segment.tokens),
        mean_logprob=segment.avg_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_probability=segment.no_speech_prob,
        temperature=segment.temperature or 0.0,
        words=tuple(Word(word.start, word.end, word.word) for word in segment.words or ()),
    )
