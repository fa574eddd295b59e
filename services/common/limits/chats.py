"""How far the fields of a chat may go: edges refuse what is beyond in words, and runners have the same as guards."""

from __future__ import annotations

import re
from typing import NamedTuple


class Range(NamedTuple):
    """The numbers from `low` to `high`, both included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a number is one of them; NaN never is."""
        return self.low <= value <= self.high


TEMPERATURES = Range(0, 2)
TOP_PS = Range(0, 1)
PENALTIES = Range(-2, 2)
# What clients of open models send beside OpenAI's parameters. -1 and 0 turn `top_k` off.
TOP_KS = Range(-1, 1_000_000)
MIN_PS = Range(0, 1)
# Edges refuse 0; to a runner it means that none was sent.
REPETITION_PENALTIES = Range(0, 2)
BIASES = Range(-100, 100)
# Alternatives of one token.
TOP_LOGPROBS = Range(0, 20)
# Token ids that `logit_bias` names.
MOST_BIASES = 1024
# Strings that end an answer, and the characters of one.
MOST_STOPS, LONGEST_STOP = 4, 256
# What Anthropic calls stop sequences, of which there may be more: runners take both.
MOST_STOP_SEQUENCES = 64
# Tokens of a prompt whose probabilities are told: a model takes as long for each as for one that it produces.
MOST_SCORED = 4096
MOST_TOOLS = 128
# Anthropic's clients offer more, for the tools of every MCP server are among them: runners take both.
MOST_MESSAGES_TOOLS = 512
MOST_MESSAGES = 10_000
FUNCTION_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")
# What Anthropic calls the same, which may be longer: runners take both.
TOOL_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,128}$")
