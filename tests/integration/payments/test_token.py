"""The token of the tests is what its source says."""

from __future__ import annotations

import subprocess

from tests.support import programs
from tests.support.deadlines import stretched

FOLDER = programs.ROOT / "tests" / "support" / "anvil"
TOKEN = programs.ROOT / "services" / "cli" / "chain" / "token" / "token.json"


def test_the_token_is_compiled_from_its_source() -> None:
    command = [str(programs.node()), "compile.mjs"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, timeout=stretched(60), check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == TOKEN.read_bytes()
