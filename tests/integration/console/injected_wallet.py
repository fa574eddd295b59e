"""A wallet that a browser has: an injected provider (EIP-1193) in front of a key that only the test has."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext

from tests.support.wallet import SoftwareWallet

# What a wallet says if the person refuses.
REFUSED = 4001
_SCRIPT = """
window.ethereum = { request: async ({ method, params = [] }) => {
  const answer = JSON.parse(await window.askTheWallet(method, JSON.stringify(params)));
  if (answer.code) throw Object.assign(new Error("refused"), { code: answer.code });
  return answer.result;
} };
"""


class InjectedWallet:
    """Signs whatever a page of the context asks it to, unless `refuses` is set; `others` answers other methods."""

    def __init__(
        self,
        context: BrowserContext,
        wallet: SoftwareWallet | None = None,
        others: Callable[[str, list[Any]], Any] | None = None,
    ) -> None:
        self.wallet = wallet or SoftwareWallet()
        self.refuses = False
        # Every text that it was asked to sign.
        self.texts: list[str] = []
        self._others = others
        context.expose_function("askTheWallet", self._answer)
        context.add_init_script(_SCRIPT)

    def _answer(self, method: str, parameters: str) -> str:
        if self.refuses:
            return json.dumps({"code": REFUSED})
        return json.dumps({"result": self._result(method, json.loads(parameters))})

    def _result(self, method: str, parameters: list[Any]) -> Any:
        if method == "eth_requestAccounts" and self._others is None:
            return [self.wallet.address]
        if method == "personal_sign":
            text, address = parameters
            assert address == self.wallet.address
            self.texts.append(bytes.fromhex(text[2:]).decode())
            return self.wallet.sign(self.texts[-1])
        assert self._others is not None, method
        return self._others(method, parameters)
