"""A gRPC server as every service runs it: health, reflection, mutual TLS, errors and an orderly end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.common.catalog import Catalog, catalog_digest
from services.common.rpc.callers import CallerInterceptor
from services.common.rpc.certificate_files import CertificateFiles
from services.common.rpc.channels import MOST_REQUEST_BYTES, OPTIONS
from services.common.rpc.interceptors import ErrorInterceptor
from services.common.settings import TlsSettings
from services.common.telemetry.logs import get_logger
from services.common.version import VERSION

log = get_logger()
# What a health check is answered with besides, for `tiermesh doctor`.
VERSION_METADATA_KEY = "tiermesh-version"
CATALOG_METADATA_KEY = "tiermesh-catalog"

_SERVER_OPTIONS = (
    *OPTIONS,
    # The last of several values counts.
    ("grpc.max_receive_message_length", MOST_REQUEST_BYTES),
    # Two processes never share a port by accident.
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


class Drainable(Protocol):
    """Something with work in progress that can be brought to an end."""

    async def drain(self, seconds: float) -> None:
        """Takes nothing new and waits for what runs, at most `seconds`."""


class _HealthServicer(health.aio.HealthServicer):  # type: ignore[misc]  # the package has no types
    """Says besides, in the metadata of its answer, which version this is and which catalog it sells by."""

    def __init__(self, catalog: Catalog | None) -> None:
        super().__init__()
        self._catalog = catalog

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC names methods in upper camel case
        """Answers whether the server serves."""
        facts = [(VERSION_METADATA_KEY, VERSION)]
        if self._catalog is not None:
            facts.append((CATALOG_METADATA_KEY, catalog_digest(self._catalog)))
        await context.send_initial_metadata(facts)
        return await super().Check(request, context)


class GrpcServer:
    """Add servicers to `server`, then `start`; `stop` drains.

    `limited` are the roles that may call some methods only, with the names of these.
    """

    def __init__(
        self,
        listen: str,
        tls: TlsSettings,
        catalog: Catalog | None = None,
        limited: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        interceptors: list[grpc.aio.ServerInterceptor] = [ErrorInterceptor()]
        if tls.enabled and tls.client_names is not None:
            by_name = {tls.name(role): methods for role, methods in (limited or {}).items()}
            interceptors.insert(0, CallerInterceptor(tls.client_names, by_name))
        self.server = grpc.aio.server(interceptors=interceptors, options=_SERVER_OPTIONS)
        self.address = listen
        self._listen = listen
        self._tls = tls
        self._health = _HealthServicer(catalog)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)

    async def start(self, service_names: Sequence[str]) -> None:
        """Binds the address and reports SERVING; raises OSError if it is taken or a certificate file is wrong."""
        names = (*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self.server)
        try:
            port = self._bind()
        except RuntimeError as error:
            # gRPC does not say which of them it is.
            cause = "is the port taken, or a certificate file wrong?" if self._tls.enabled else "is the port taken?"
            raise OSError(f"cannot listen on {self._listen}: {cause}") from error
        self.address = f"{self._listen.rpartition(':')[0]}:{port}"
        await self.server.start()
        for name in ("", *service_names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info("listening", address=self.address, tls=self._tls.enabled)

    async def stop(self, drainables: Sequence[Drainable], seconds: float) -> None:
        """Reports NOT_SERVING, lets what runs finish for at most `seconds` each, then closes."""
        await self._health.enter_graceful_shutdown()
        for drainable in drainables:
            await drainable.drain(seconds)
        await self.server.stop(grace=1.0)
        log.info("stopped", address=self.address)

    def _bind(self) -> int:
        if not self._tls.enabled:
            return int(self.server.add_insecure_port(self._listen))
        return int(self.server.add_secure_port(self._listen, _server_credentials(self._tls)))


def _server_credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    files = CertificateFiles(tls, "server")

    def configuration() -> grpc.ServerCertificateConfiguration:
        found = files.read()
        return grpc.ssl_server_certificate_configuration([(found.key, found.chain)], root_certificates=found.ca)

    def replaced() -> grpc.ServerCertificateConfiguration | None:
        """Is asked at each handshake; gRPC keeps what it has on None, on an exception and on files of no use."""
        return configuration() if files.changed else None

    # grpcio documents None as "unchanged"; its stubs forget it.
    return grpc.dynamic_ssl_server_credentials(configuration(), replaced, require_client_authentication=True)  # type: ignore[arg-type]
