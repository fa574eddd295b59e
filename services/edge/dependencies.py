"""What endpoints are made of. Each takes from it what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.common.clock import Clock
from services.common.rpc.replicas import AuthReplicas, BillingReplicas
from services.edge.paid.path import Mesh, PaidPath
from services.edge.receipts.issuing import ReceiptIssuer
from services.edge.remote_images import ImageLoader
from services.edge.settings import EdgeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What lies behind the endpoints, ready to be used."""

    settings: EdgeSettings
    # Seconds since the Unix epoch.
    clock: Clock
    mesh: Mesh
    # The way of every paid request through the mesh.
    path: PaidPath
    # Fetches the images of conversations.
    image_loader: ImageLoader
    billing: BillingReplicas
    auth: AuthReplicas
    # Whether this process takes requests and reaches what it needs for them.
    ready: Callable[[], bool]
    # What signs receipts; None if nothing does.
    receipts: ReceiptIssuer | None = None
