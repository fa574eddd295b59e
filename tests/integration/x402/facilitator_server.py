"""A facilitator: the official package behind the HTTP interface of the protocol, in a process of its own.

Run it as `python -m tests.integration.x402.facilitator_server ADDRESS NODE_URL NETWORK PRIVATE_KEY MODE_FILE`. A
request without the header that it wants is refused. While the file says `refuse`, it settles nothing, and while it says
`deny`, it settles and says that it has not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from x402 import x402Facilitator
from x402.mechanisms.evm import FacilitatorWeb3Signer
from x402.mechanisms.evm.exact.register import register_exact_evm_facilitator
from x402.schemas import PaymentPayload, PaymentRequirements

AUTHORIZATION = "Bearer of good news"


def application(node_url: str, network: str, private_key: str, mode: Callable[[], str]) -> web.Application:
    """Returns what serves /verify and /settle."""
    facilitator = x402Facilitator()
    register_exact_evm_facilitator(facilitator, FacilitatorWeb3Signer(private_key, node_url), network)

    async def serve(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != AUTHORIZATION:
            return web.Response(status=401)
        body: dict[str, Any] = await request.json()
        payment = PaymentPayload.model_validate(body["paymentPayload"])
        requirements = PaymentRequirements.model_validate(body["paymentRequirements"])
        method, wanted = request.match_info["method"], mode()
        if (method, wanted) != ("settle", "refuse"):
            answer = await getattr(facilitator, method)(payment, requirements)
        if method == "settle" and wanted:
            return web.json_response({"success": False, "errorReason": wanted, "transaction": "", "network": network})
        return web.json_response(answer.model_dump(by_alias=True, exclude_none=True))

    app = web.Application()
    app.router.add_post("/{method:verify|settle}", serve)
    return app


if __name__ == "__main__":
    address, node, chain, key, mode_file = sys.argv[1:]
    host, _, port = address.rpartition(":")
    web.run_app(application(node, chain, key, Path(mode_file).read_text), host=host, port=int(port), print=None)
