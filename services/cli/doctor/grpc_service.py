"""Looks at one gRPC service: whether it can be reached, lets the operator in, serves, and which version it is."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.doctor.finding import Finding, failed, ok
from services.common.rpc.channels import channel_opener
from services.common.rpc.server import CATALOG_METADATA_KEY, VERSION_METADATA_KEY
from services.common.settings import TlsSettings

CHECK = "health"
_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Examined:
    """What a service said; version and catalog are empty if it could not be asked."""

    finding: Finding
    version: str = ""
    catalog: str = ""


async def look_at_service(target: str, address: str, role: str, tls: TlsSettings) -> Examined:
    """Asks a service for its health. Its schema is in order if it serves: on another one it refuses to start."""
    try:
        async with channel_opener(tls, role)(address) as channel:
            call = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_SECONDS)
            answer = await call
            facts = {key: str(value) for key, value in await call.initial_metadata()}
    except OSError as error:
        return Examined(failed(CHECK, target, f"not checked: {error}", "correct the operator's certificate files"))
    except grpc.aio.AioRpcError as error:
        return Examined(_unreachable(target, role, error))
    version, catalog = facts.get(VERSION_METADATA_KEY, ""), facts.get(CATALOG_METADATA_KEY, "")
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        finding = failed(CHECK, target, f"reports {state}", "it is stopping, or its log says why it does not serve")
    else:
        finding = ok(CHECK, target, f"serves, version {version or 'unknown'}")
    return Examined(finding, version, catalog)


def _unreachable(target: str, role: str, error: grpc.aio.AioRpcError) -> Finding:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return failed(CHECK, target, f"does not reply within {_TIMEOUT_SECONDS:g} s", "read its log, and restart it")
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        fix = f"start {role}, read its log, and check its address, the network policies and the certificates"
        # gRPC names the attempts before the cause.
        cause = (error.details() or "").rpartition("last error: ")[2]
        return failed(CHECK, target, f"cannot be reached ({cause})", fix)
    return failed(CHECK, target, f"{error.code().name}: {error.details()}", "read its log")
