"""Builds the client that a service's settings ask for."""

from __future__ import annotations

from services.common.etcd.client import EtcdClient
from services.common.settings import EtcdServiceSettings, split_list


def etcd_client(settings: EtcdServiceSettings) -> EtcdClient:
    """Returns the client; call it inside the running event loop."""
    return EtcdClient(
        split_list(settings.etcd_endpoints),
        tls=settings.etcd_tls,
        username=settings.etcd_username,
        password=settings.etcd_password,
    )
