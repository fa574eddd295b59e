"""A server of the Model Context Protocol with one tool, over standard input and output: one JSON message in each line.

See https://modelcontextprotocol.io/specification/2025-06-18/basic/transports. It imports nothing of this project.
"""

from __future__ import annotations

import json
import sys
from typing import Any

TOOL = {
    "name": "weather",
    "description": "Tells the weather in a city.",
    "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the result of a request, or None for a method that this server does not know."""
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "weather", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        text = f"It is 18 degrees in {params['arguments']['city']}."
        return {"content": [{"type": "text", "text": text}], "isError": False}
    return {} if method == "ping" else None


def main() -> None:
    """Serves until the input ends; notifications get no answer."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        result = answer(message["method"], message.get("params") or {})
        error = {"code": -32601, "message": "This server does not know the method."}
        outcome = {"error": error} if result is None else {"result": result}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **outcome}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
