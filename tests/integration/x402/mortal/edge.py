"""An edge, which dies around each call of payments and billing. After the capture comes the end of the answer."""

from __future__ import annotations

from services.common.lifecycle.process import run_service
from services.edge.__main__ import serve
from services.edge.paid.hold import BillingClient
from services.edge.x402.client import PaymentsClient
from tests.integration.x402.mortal.failpoints import plant

if __name__ == "__main__":
    plant("edge", PaymentsClient, claim="claim", settle="settle", _release="release")
    plant("edge", BillingClient, settle="capture")
    run_service(serve)
