"""A control process loads no library until something needs it: each has 80 MB."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.locks import ROOT

# The database is known only when the settings have been read, and few deployments have passkeys or accept payments.
_LATER = {
    "alembic",
    "asyncpg",
    "bip32",
    "coincurve",
    "cryptography",
    "fido2",
    "huggingface_hub",
    "jwt",
    "redis",
    "rich",
}
_ENGINES = {"PIL", "av", "numpy", "torch", "xllamacpp"}


@pytest.mark.parametrize("service", ["auth", "billing", "router", "edge", "console", "payments", "runner"])
def test_a_service_that_starts_has_not_loaded_what_few_need(service: str) -> None:
    code = f"import json, sys, services.{service}.__main__; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert f"services.{service}.__main__" in loaded
    assert loaded & (_LATER | _ENGINES) == set()


def test_auth_loads_the_library_of_passkeys_for_the_first_one_who_asks() -> None:
    code = """
import asyncio, sys
from services.auth.sign_in.choice import open_passkeys
find = open_passkeys(None, None, None, None, None)
before = {"fido2", "cryptography"} & set(sys.modules)
asyncio.run(find())
print(before, "fido2" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split("\n")[0] == "set() True"
