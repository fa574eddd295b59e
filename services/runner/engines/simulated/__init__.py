"""The simulated engine."""

from services.runner.engines.simulated.engine import SimulatedEngine
from services.runner.engines.simulated.script import Script, ScriptError, load_script

__all__ = ["Script", "ScriptError", "SimulatedEngine", "load_script"]
