"""How etcd is started for a mesh on one machine."""

from __future__ import annotations

from pathlib import Path


def etcd_command(program: Path, data: Path, client_address: str, peer_address: str) -> tuple[str, ...]:
    """Returns the command line of a cluster of one."""
    client, peer = f"http://{client_address}", f"http://{peer_address}"
    options = {
        "--name": "local",
        "--data-dir": str(data),
        "--listen-client-urls": client,
        "--advertise-client-urls": client,
        "--listen-peer-urls": peer,
        "--initial-advertise-peer-urls": peer,
        "--initial-cluster": f"local={peer}",
        # A cluster of one elects itself; a short election makes a short start.
        "--heartbeat-interval": "20",
        "--election-timeout": "200",
        # It holds only what runners register anew by themselves: waiting for the disk would protect nothing.
        "--unsafe-no-fsync": "true",
        "--log-level": "warn",
    }
    return (str(program), *(f"{name}={value}" for name, value in options.items()))
