"""Codex as npm installs it, run as its users do with `codex exec`, in a home and a project of its own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import programs
from tests.support.account import FundedAccount
from tests.support.deadlines import stretched

_PROGRAM = Path(__file__).parent / "node_modules" / "@openai" / "codex" / "bin" / "codex.js"
_SECONDS = 60.0
# What docs/agents.md says, and nothing that Codex does on the side.
_CONFIG = """
model = "tiermesh-max-think"
model_provider = "tiermesh"
model_context_window = 131072
check_for_update_on_startup = false
{settings}

[model_providers.tiermesh]
name = "tiermesh"
base_url = "{base_url}"
env_key = "TIERMESH_API_KEY"
wire_api = "responses"
{provider}

[analytics]
enabled = false
{tables}
"""


@dataclass(frozen=True)
class Finished:
    """What Codex has said, and how it ended."""

    code: int
    output: str
    errors: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it reports in JSON, one event in each line."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items that are finished: messages, thoughts, commands, changes of files, calls of tools."""
        return [event["item"] for event in self.events if event["type"] == "item.completed"]

    @property
    def failure(self) -> str:
        """Why its turn has failed, in its words."""
        return "".join(event["error"]["message"] for event in self.events if event["type"] == "turn.failed")

    def texts(self, kind: str) -> list[str]:
        """Returns the texts of the items of one kind."""
        return [item["text"] for item in self.items if item["type"] == kind]


@dataclass(frozen=True)
class Codex:
    """A home and a project for one person with an account."""

    home: Path
    project: Path
    account: FundedAccount
    api_key: str

    def configure(self, *, settings: str = "", provider: str = "", tables: str = "") -> None:
        """Writes the configuration, with these lines: at its top, for the provider, and at its end."""
        lines = {"settings": settings, "provider": provider, "tables": tables}
        text = _CONFIG.format(base_url=self.account.mesh.base_url, **lines)
        (self.home / "config.toml").write_text(text)

    def run(self, *arguments: str, text: str | None = None) -> Finished:
        """Runs `codex exec` in the project to its end, with `text` as its input."""
        # The sandbox of commands is the tests' own, and no other key may be found.
        fixed = ("--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
        environ = {
            "PATH": f"{programs.node().parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "CODEX_HOME": str(self.home),
            "TIERMESH_API_KEY": self.api_key,
            # Nothing but this machine can be reached.
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
        }
        done = subprocess.run(
            [programs.node(), _PROGRAM, "exec", *fixed, *arguments],
            cwd=self.project,
            env=environ,
            input=text or "",
            capture_output=True,
            text=True,
            timeout=stretched(_SECONDS),
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def paid(self) -> int:
        """Returns the credits that the account has paid; nothing may be held any more."""
        balance = self.account.mesh.command_now("balance", self.account.account)
        assert balance["held"] == 0
        return 1000 - int(balance["available"])
