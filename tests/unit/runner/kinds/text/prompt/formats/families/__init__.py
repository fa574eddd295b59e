"""The families of models that write calls each in its own way."""

from tests.unit.runner.kinds.text.prompt.formats.families.deepseek import DEEPSEEK, DEEPSEEK_V3
from tests.unit.runner.kinds.text.prompt.formats.families.family import FUNCTIONS, WEATHER, Calls, Family
from tests.unit.runner.kinds.text.prompt.formats.families.glm import GLM
from tests.unit.runner.kinds.text.prompt.formats.families.harmony import HARMONY
from tests.unit.runner.kinds.text.prompt.formats.families.kimi import KIMI
from tests.unit.runner.kinds.text.prompt.formats.families.llama4 import LLAMA4
from tests.unit.runner.kinds.text.prompt.formats.families.mistral import MISTRAL, MISTRAL_ARGS
from tests.unit.runner.kinds.text.prompt.formats.families.pythonic import PYTHONIC
from tests.unit.runner.kinds.text.prompt.formats.families.qwen3_coder import QWEN3_CODER

FAMILIES = [QWEN3_CODER, HARMONY, GLM, DEEPSEEK, DEEPSEEK_V3, KIMI, MISTRAL, MISTRAL_ARGS, LLAMA4, PYTHONIC]

__all__ = ["DEEPSEEK", "FAMILIES", "FUNCTIONS", "HARMONY", "KIMI", "MISTRAL_ARGS", "WEATHER", "Calls", "Family"]
