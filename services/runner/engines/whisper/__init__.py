"""Transcription by Whisper on CTranslate2."""

from services.runner.engines.whisper.engine import WhisperEngine, find_whisper_tiny

__all__ = ["WhisperEngine", "find_whisper_tiny"]
