"""Looks at certificates: the operator's own, and the one that each server shows."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from services.cli.doctor.finding import Finding, failed, ok, warning
from services.common.clock import Clock
from services.common.rpc.certificate_files import own_certificate
from services.common.settings import TlsSettings

CHECK = "certificate"
_TIMEOUT_SECONDS = 5.0
_DAY = 86_400
# Whoever renews certificates does so long before this part of their life is left.
_LATE_PART = 0.1
_RENEW = "renew it (docs/operations/tls.md, Rotate certificates); running services read the new files automatically"


def look_at_own(tls: TlsSettings, clock: Clock) -> Finding:
    """Looks at the certificate that this command shows to the services."""
    try:
        return _by_expiry("operator's own", own_certificate(tls, "client"), clock)
    except ssl.SSLCertVerificationError as error:
        return failed(CHECK, "operator's own", error.verify_message, f"check {tls.cert_file} and {tls.ca_file}")
    except OSError as error:
        return failed(CHECK, "operator's own", f"unusable: {error.strerror or error}", f"check {tls.cert_file}")


async def look_at_server(target: str, address: str, role: str, tls: TlsSettings, clock: Clock) -> Finding:
    """Looks at the certificate that a server shows, which must be for `role`; without one, for the address's host."""
    host, _, port = address.rpartition(":")
    name = tls.name(role) if role else host.strip("[]")
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.load_cert_chain(tls.cert_file, tls.key_file)
        context.set_alpn_protocols(["h2"])
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context, server_hostname=name)
        try:
            return _by_expiry(target, writer.get_extra_info("peercert"), clock)
        finally:
            writer.transport.abort()
    except ssl.SSLCertVerificationError as error:
        return failed(CHECK, target, error.verify_message, f"it needs a certificate for {name} of the mesh's authority")
    except ssl.SSLError as error:
        return failed(CHECK, target, f"no TLS: {error.reason}", "set the TLS_*_FILE settings of that service")
    except (OSError, TimeoutError):
        return failed(CHECK, target, "cannot be reached", "see its health check")


def _by_expiry(target: str, certificate: dict[str, Any], clock: Clock) -> Finding:
    begin, end = (ssl.cert_time_to_seconds(certificate[name]) for name in ("notBefore", "notAfter"))
    left = end - clock()
    names = ", ".join(name for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS")
    detail = f"for {names}, {left / _DAY:.1f} days left"
    if left < (end - begin) * _LATE_PART:
        return warning(CHECK, target, detail, _RENEW)
    return ok(CHECK, target, detail)
