"""Looks at etcd: each member by itself, the cluster's quorum, and who is registered."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from services.cli.doctor.finding import Finding, failed, ok, warning
from services.common.etcd import EtcdClient, EtcdError
from services.common.registry import RUNNERS_PREFIX, RunnerRecord
from services.common.settings import TlsSettings

CHECK = "etcd"
_TIMEOUT_SECONDS = 3.0
# etcd's default quota is 2 GiB, beyond which it takes no more writes; the mesh needs a few kilobytes.
_LARGE_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class EtcdAccess:
    """How etcd is reached."""

    endpoints: tuple[str, ...]
    tls: TlsSettings
    username: str = ""
    password: str = ""

    def client(self, *endpoints: str) -> EtcdClient:
        """Returns a client of these members; raises OSError for a certificate file that cannot be read."""
        return EtcdClient(
            endpoints, tls=self.tls, username=self.username, password=self.password, timeout=_TIMEOUT_SECONDS
        )


async def look_at_member(access: EtcdAccess, endpoint: str) -> Finding:
    """Asks one member how it is."""
    target = f"member {endpoint}"
    try:
        client = access.client(endpoint)
    except (OSError, ValueError) as error:
        return failed(
            CHECK, target, f"not checked: {error}", "correct the endpoint or the operator's certificate files"
        )
    try:
        status = await client.status()
    except EtcdError as error:
        return failed(CHECK, target, f"does not reply ({error.code.name})", "start it; its log says why it stopped")
    finally:
        await client.close()
    if not status.has_leader:
        return failed(CHECK, target, "has no leader", "bring back a majority of the members")
    detail = f"version {status.version}, {status.database_bytes >> 20} MiB"
    if status.database_bytes > _LARGE_BYTES:
        return warning(CHECK, target, detail, "compact and defragment it: at its quota it accepts no registrations")
    return ok(CHECK, target, detail)


async def look_at_registry(access: EtcdAccess) -> tuple[Finding, dict[str, RunnerRecord] | None]:
    """Reads the registrations through the quorum; None for those if they cannot be read."""
    try:
        client = access.client(*access.endpoints)
    except (OSError, ValueError) as error:
        return failed(CHECK, "quorum", f"not checked: {error}", "correct the operator's certificate files"), None
    try:
        items = (await client.get_prefix(RUNNERS_PREFIX.encode(), attempts=2)).items
        records = [RunnerRecord.from_json(value) for value in items.values()]
    except EtcdError as error:
        fix = "bring back a majority of the members, or correct the user and its role (docs/operations/tls.md)"
        return failed(CHECK, "quorum", str(error), fix), None
    except (msgspec.ValidationError, msgspec.DecodeError):
        return failed(
            CHECK, "registry", "a record cannot be read", f"delete what is not a runner's: {RUNNERS_PREFIX}"
        ), None
    finally:
        await client.close()
    return ok(CHECK, "quorum", f"replies, {len(records)} runners registered"), {record.id: record for record in records}
