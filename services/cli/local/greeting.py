"""What `tiermesh up` prints once it serves: everything a person needs for the first request and the next ones."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.local.engines import LocalRunner
from services.cli.management.wording import credits_text
from services.common.catalog import Catalog
from services.common.version import VERSION

# Small models answer better when told who they are, and best with their most likely words.
_MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]


@dataclass(frozen=True, kw_only=True)
class ChainGreeting:
    """The local chain, and where the account receives tokens."""

    url: str
    chain_id: int
    token: str
    deposit_address: str


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """The facts of one start."""

    base_url: str
    api_key: str
    # Where the console is, and the key that signs in there; both are empty if there is none.
    console_url: str = ""
    console_key: str = field(default="", repr=False)
    # The same for operators.
    operator_console_url: str = ""
    operator_key: str = field(default="", repr=False)
    account_id: str
    available: int
    runners: tuple[LocalRunner, ...]
    # What `make run-all` would serve too.
    more: tuple[str, ...]
    catalog: Catalog
    state_directory: Path
    logs: Path
    # How to call this command again, and the option with which it finds this mesh, with a space before it, if any.
    program: str
    option: str
    # The local chain, if there is one.
    chain: ChainGreeting | None = None

    def __str__(self) -> str:
        model = next((model for runner in self.runners for model in runner.models if model.kind == "chat"), None)
        examples = []
        if model is not None:
            examples = ["Try it:", self._curl(model.id), "Or in Python (pip install openai):", self._python(model.id)]
        return "\n\n".join([self._facts(), *examples, self._next()])

    def _facts(self) -> str:
        lines = [
            f"tiermesh {VERSION} serves:",
            *(f"  {', '.join(model.id for model in runner.models)} ({_described(runner)})" for runner in self.runners),
            "",
            f"  base_url  {self.base_url}",
            f"  API key   {self.api_key}",
            *((f"  console   {self.console_url}",) if self.console_url else ()),
            *((f"  operators {self.operator_console_url}",) if self.operator_console_url else ()),
            f"  account   {self.account_id}, {credits_text(self.available)}",
            *self._chain_facts(),
            f"  state     {self.state_directory} (kept for the next start)",
            f"  logs      {self.logs}/<service>.log",
        ]
        served = {model.id for runner in self.runners for model in runner.models}
        if elsewhere := [model.id for model in self.catalog.models if model.id not in served]:
            lines += ["", f"  Models without a runner here (requests get status 503): {', '.join(elsewhere)}"]
        if self.more:
            lines.append(f"  `make run-all` installs and starts more: {', '.join(self.more)}")
        return "\n".join(lines)

    def _chain_facts(self) -> tuple[str, ...]:
        if self.chain is None:
            return ()
        return (
            f"  chain     {self.chain.url}, chain ID {self.chain.chain_id}, test token {self.chain.token}",
            f"  deposits  {self.chain.deposit_address} (this account's address for test tokens)",
        )

    def _curl(self, model: str) -> str:
        body = json.dumps({"model": model, "stream": True, "temperature": 0, "messages": _MESSAGES})
        return (
            f"curl -N {self.base_url}/chat/completions \\\n"
            f"  -H 'Authorization: Bearer {self.api_key}' -H 'Content-Type: application/json' \\\n"
            f"  -d '{body}'"
        )

    def _python(self, model: str) -> str:
        messages = "".join(f"    {json.dumps(message)},\n" for message in _MESSAGES)
        return (
            "from openai import OpenAI\n"
            f'client = OpenAI(base_url="{self.base_url}", api_key="{self.api_key}")\n'
            f"messages = [\n{messages}]\n"
            f'options = {{"model": "{model}", "temperature": 0, "stream": True}}\n'
            "for chunk in client.chat.completions.create(messages=messages, **options):\n"
            '    print(chunk.choices[0].delta.content or "", end="", flush=True)\n'
        )

    def _next(self) -> str:
        commands = "".join(
            f"  {self.program} {command}{self.option}\n"
            for command in ("balance", "models", "runners", "key create --rpm 0")
        )
        return (
            f"Then, in another terminal (the last command creates a key without a rate limit):\n{commands}\n"
            f"{self._top_up()}"
            f"{self._console()}Ctrl-C stops the mesh."
        )

    def _top_up(self) -> str:
        if self.chain is None:
            return ""
        deposit = f"{self.program} faucet {self.account_id} 25{self.option}"
        pay = f"{self.program} x402 pay 'What is the capital of France?'{self.option}"
        return (
            f"Deposit 25 test tokens, which are 2,500 credits:\n\n  {deposit}\n\n"
            f"Pay for one request without an account, from a wallet with test tokens (x402):\n\n  {pay}\n\n"
        )

    def _console(self) -> str:
        if not self.console_url:
            return ""
        return (
            f"Open {self.console_url} in a browser to create keys and to see what they cost. Sign in with this key:\n\n"
            f"  {self.console_key}\n\n"
            f"Open {self.operator_console_url} to run the mesh as an operator does. Sign in with this key:\n\n"
            f"  {self.operator_key}\n\n"
        )


def _described(runner: LocalRunner) -> str:
    """Returns the engine and the model of a runner, and what it holds where that is counted in tokens."""
    described = f"{runner.engine}: {runner.model}" if runner.model else runner.engine
    if runner.models[0].kind != "chat":
        return described
    return f"{described}, {runner.context:,} tokens of context, {runner.slots} at once"
