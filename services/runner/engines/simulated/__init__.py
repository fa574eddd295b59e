"""The simulated engine."""

from services.runner.engines.simulated.engine import SimulatedEngine

__all__ = ["SimulatedEngine"]
