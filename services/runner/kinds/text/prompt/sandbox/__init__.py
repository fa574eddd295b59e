"""The sandbox in which chat templates run: a bound on the time and on the memory of each rendering."""

from services.runner.kinds.text.prompt.sandbox.budget import ProcessorClock, TemplateLimitError
from services.runner.kinds.text.prompt.sandbox.environment import BoundedEnvironment

__all__ = ["BoundedEnvironment", "ProcessorClock", "TemplateLimitError"]
