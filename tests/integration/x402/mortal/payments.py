"""Payments, which dies around each call of billing's, and around each transaction that it sends."""

from __future__ import annotations

from services.common.lifecycle.process import run_service
from services.payments.__main__ import serve
from services.payments.chain.settlement_node import SettlementNode
from services.payments.x402.books import Books
from tests.integration.x402.mortal.failpoints import plant

if __name__ == "__main__":
    plant("payments", Books, claim="claim", write_down="write_down", settle="settle", end="end")
    plant("payments", SettlementNode, send="send")
    run_service(serve)
