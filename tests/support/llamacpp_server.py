"""A llama.cpp server in a process of its own, as people run one.

`python -m tests.support.llamacpp_server MODEL KEY SLOTS CONTEXT KIND` prints its address once it serves, and ends with
the process that has started it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.deadlines import within

_START_SECONDS = 60
# In the form of Qwen's, from which llama.cpp learns how calls are written.
TEMPLATE = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools>\\n\\nReturn a json object for each call within <tool_call></tool_call>:" }}
    {{- "\\n<tool_call>\\n{\\"name\\": <name>, \\"arguments\\": <object>}\\n</tool_call><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' + (message.content or '') }}
        {%- for tool_call in message.tool_calls or [] %}
            {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' + tool_call.name + '", "arguments": ' }}
            {%- if tool_call.arguments is string %}{{- tool_call.arguments }}
            {%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
SLOTS, CONTEXT = 2, 2048
EMBEDDING_CONTEXT = 512


class LlamaCppServer:
    """The server, with so many conversations at once of so many tokens each.

    With `embedding`, it embeds inputs instead, of EMBEDDING_CONTEXT tokens each.
    """

    def __init__(
        self, model: Path, key: str = "", *, slots: int = SLOTS, context: int = CONTEXT, embedding: bool = False
    ) -> None:
        kind, context = ("embedding", EMBEDDING_CONTEXT) if embedding else ("chat", context)
        self._arguments = (str(model), key, str(slots), str(context), kind)
        self._process: asyncio.subprocess.Process | None = None
        # With /v1.
        self.url = ""

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to its process."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__, *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        async with within(_START_SECONDS):
            self.url = (await self._process.stdout.readline()).decode().strip() + "/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def serve(model: str, key: str, slots: int, context: int, kind: str) -> None:
    """Serves until the standard input ends."""
    os.environ["OMP_WAIT_POLICY"] = "passive"
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_parallel = slots
    params.n_ctx = slots * context
    params.fit_params = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_batch = params.n_ubatch = 32
    # One for each answer that is sent, and some for questions about the server.
    params.n_threads_http = slots + 4
    params.verbosity = -1
    params.ui = False
    if kind == "embedding":
        params.embedding = True
        # An input is embedded in one batch.
        params.n_batch = params.n_ubatch = context
    else:
        # The model's own template shows no functions, and llama.cpp then drops them without a word.
        params.chat_template = TEMPLATE
    if key:
        params.api_keys = [key]
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
