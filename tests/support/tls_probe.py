"""Asks a server for its certificate, as a new connection sees it."""

from __future__ import annotations

import asyncio
import ssl

from services.common.settings import TlsSettings


async def served_certificate(address: str, tls: TlsSettings) -> bytes:
    """Returns the certificate that the server shows to a new connection, in DER, whoever has signed it."""
    host, _, port = address.partition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(tls.cert_file, tls.key_file)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    return certificate
