"""A gRPC server as every service runs it: health, reflection, mutual TLS, errors and an orderly end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.common.channels import OPTIONS
from services.common.interceptors import ErrorInterceptor
from services.common.logs import get_logger
from services.common.settings import TlsSettings

log = get_logger()

_SERVER_OPTIONS = (
    *OPTIONS,
    # Two processes never share a port by accident.
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


class Drainable(Protocol):
    """Something with work in progress that can be brought to an end."""

    async def drain(self, seconds: float) -> None:
        """Takes nothing new and waits for what runs, at most `seconds`."""


class GrpcServer:
    """Add servicers to `server`, then `start`; `stop` drains."""

    def __init__(self, listen: str, tls: TlsSettings) -> None:
        self.server = grpc.aio.server(interceptors=(ErrorInterceptor(),), options=_SERVER_OPTIONS)
        self.address = listen
        self._listen = listen
        self._tls = tls
        self._health = health.aio.HealthServicer()
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
    reload = _certificate_reader(tls)
    first = reload()
    if first is None:
        raise RuntimeError("the certificate files were never read")
    # grpcio documents None as "unchanged"; its stubs forget it.
    return grpc.dynamic_ssl_server_credentials(first, reload, require_client_authentication=True)  # type: ignore[arg-type]


def _certificate_reader(tls: TlsSettings) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Returns a function that reads the files when they have changed and returns None when they have not."""
    paths = [Path(name) for name in (tls.ca_file, tls.cert_file, tls.key_file)]
    seen: list[int] = []

    def read() -> grpc.ServerCertificateConfiguration | None:
        stamps = [path.stat().st_mtime_ns for path in paths]
        if stamps == seen:
            return None
        ca, cert, key = (path.read_bytes() for path in paths)
        seen[:] = stamps
        return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=ca)

    return read
