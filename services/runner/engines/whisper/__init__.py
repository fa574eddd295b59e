"""Transcription by Whisper on CTranslate2."""

from services.runner.engines.whisper.engine import WhisperEngine

__all__ = ["WhisperEngine"]
