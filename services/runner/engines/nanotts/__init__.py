"""Speech by SVOX Pico: small and fast on any CPU."""

from services.runner.engines.nanotts.engine import NanoTtsEngine

__all__ = ["NanoTtsEngine"]
