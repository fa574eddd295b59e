"""How etcd is started for a mesh on one machine."""

from __future__ import annotations

from pathlib import Path

from services.common.settings import TlsSettings


def etcd_command(
    program: Path, data: Path, *, client_address: str, peer_address: str, metrics_address: str, tls: TlsSettings
) -> tuple[str, ...]:
    """Returns the command line of a cluster of one; with `tls`, it serves only who has a certificate."""
    scheme = "https" if tls.enabled else "http"
    client, peer = f"{scheme}://{client_address}", f"{scheme}://{peer_address}"
    options = {
        "--name": "local",
        "--data-dir": str(data),
        "--listen-client-urls": client,
        "--advertise-client-urls": client,
        "--listen-peer-urls": peer,
        "--initial-advertise-peer-urls": peer,
        # Whoever looks after it has no certificate.
        "--listen-metrics-urls": f"http://{metrics_address}",
        "--initial-cluster": f"local={peer}",
        # A cluster of one elects itself; a short election makes a short start.
        "--heartbeat-interval": "20",
        "--election-timeout": "200",
        # It holds only what runners register anew by themselves: waiting for the disk would protect nothing.
        "--unsafe-no-fsync": "true",
        "--log-level": "warn",
        **(_tls_options(tls) if tls.enabled else {}),
    }
    return (str(program), *(f"{name}={value}" for name, value in options.items()))


def _tls_options(tls: TlsSettings) -> dict[str, str]:
    return {
        f"--{prefix}{name}": value
        for prefix in ("", "peer-")
        for name, value in {
            "cert-file": tls.cert_file,
            "key-file": tls.key_file,
            "trusted-ca-file": tls.ca_file,
            "client-cert-auth": "true",
        }.items()
    }
