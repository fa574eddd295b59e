"""A client of one node's JSON-RPC for commands. No error names the URL, which may contain a key."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from services.cli.errors import CliError

_TIMEOUT_SECONDS = 30.0
# As many calls as providers take in one request.
_BATCH = 100


class NodeError(CliError):
    """The node did not answer, or refused a call."""


class Rpc:
    """One node."""

    def __init__(self, url: str, timeout: float = _TIMEOUT_SECONDS) -> None:
        """Raises CliError for what is no URL."""
        if urlsplit(url).scheme not in {"http", "https"}:
            raise CliError("The URL of the node must begin with http:// or https://.")
        self._url = url
        self._timeout = timeout
        self._ids = itertools.count(1)

    def call(self, method: str, *parameters: Any) -> Any:
        """Returns the result of one call; raises NodeError."""
        return self.batch([(method, parameters)])[0]

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Returns the results of calls, in their order; raises NodeError if one fails."""
        results: list[Any] = []
        for at in range(0, len(calls), _BATCH):
            results += self._some(calls[at : at + _BATCH])
        return results

    def _some(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        asked = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(parameters)}
            for method, parameters in calls
        ]
        replies = self._post(json.dumps(asked).encode())
        by_id = {reply.get("id"): reply for reply in replies if isinstance(reply, dict)}
        results = []
        for call in asked:
            reply = by_id.get(call["id"])
            if reply is None:
                raise NodeError(f"The node left out its reply to {call['method']}. Choose another node.")
            if error := reply.get("error"):
                text = error.get("message", "") if isinstance(error, dict) else ""
                raise NodeError(f"The node refused {call['method']}: {text or 'it gave no reason'}.")
            results.append(reply.get("result"))
        return results

    def _post(self, body: bytes) -> list[Any]:
        # Most commands ask no node, and importing it takes memory.
        import urllib.error
        import urllib.request

        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self._url, body, headers)  # noqa: S310 - the scheme is checked above
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:  # noqa: S310 - as above
                replies = json.load(response)
        except urllib.error.HTTPError as error:
            raise NodeError(f"The node answered with status {error.code}. Check its URL and its key.") from None
        except OSError as error:
            raise NodeError(
                f"The node cannot be reached ({type(error).__name__}). Check its URL, and whether it runs."
            ) from None
        except ValueError:
            raise NodeError("The node answered with something that is no JSON. Check its URL.") from None
        if not isinstance(replies, list):
            raise NodeError("The node does not take several calls in one request. Choose another node.")
        return replies
