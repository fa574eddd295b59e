"""A key that exists while its owner does: held under a lease that is kept alive, and registered anew after a loss."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from services.common.etcd.client import EtcdClient
from services.common.etcd.errors import EtcdError, LeaseNotFoundError
from services.common.retry.outage import Outage
from services.common.retry.pause import pause
from services.common.telemetry.logs import get_logger

# How long an update or the farewell waits for etcd, in seconds. After that, `run` writes the update when it can, and
# the lease of a silent farewell runs out by itself.
_PATIENCE_SECONDS = 2.0


class Registration:
    """Holds `key` at `value` while `run` runs.

    `ttl` is how long, in seconds, the key outlives a dead process. `on_change` is told each time the key appears for
    certain and each time it must be taken for gone; it must not raise. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        client: EtcdClient,
        key: bytes,
        value: bytes,
        *,
        ttl: int = 5,
        on_change: Callable[[bool], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._key = key
        self._value = value
        self._ttl = ttl
        self._on_change = on_change
        self._clock = clock
        self._registered = False
        self._lease = 0
        self._expires = 0.0
        # One put at a time, each of the newest value, so that an older one never comes last.
        self._writing = asyncio.Lock()
        self._name = key.decode(errors="replace")
        self._outage = Outage()

    @property
    def registered(self) -> bool:
        """Whether the key is in etcd, as far as can be known from here."""
        return self._registered

    async def run(self) -> None:
        """Registers and stays registered until cancelled; then revokes the lease, so that the key goes at once."""
        backoff = self._client.backoff()
        try:
            while True:
                try:
                    await self._hold()
                    backoff.reset()
                    delay = self._ttl / 3
                except EtcdError as error:
                    self._note_failure(error)
                    delay = backoff.next()
                await pause(delay)
        finally:
            await self._leave()

    async def update(self, value: bytes) -> None:
        """Changes the value, at once if there is a lease.

        If etcd cannot be reached the change is not lost: `run` writes it as soon as it can. Raises nothing.
        """
        self._value = value
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._writing:
                if self._lease:
                    await self._put()
        except (EtcdError, TimeoutError) as error:
            get_logger().warning("etcd_update_delayed", key=self._name, reason=repr(error))

    async def _hold(self) -> None:
        """Does what is due: renews the lease and mends the key, or takes a new lease and writes the key under it."""
        if self._lease and await self._renew():
            await self._mend()
        else:
            await self._grant()
            async with self._writing:
                await self._put()
        if self._outage.end():
            get_logger().info("etcd_registration_recovered", key=self._name)
        self._set_registered(True)

    async def _grant(self) -> None:
        asked = self._clock()
        lease = await self._client.grant_lease(self._ttl)
        self._lease, self._expires = lease.id, asked + lease.ttl

    async def _renew(self) -> bool:
        """Returns whether the lease still exists; an attempt may take a third of its life, so that there are others."""
        asked = self._clock()
        ttl = await self._client.keep_alive(self._lease, timeout=self._ttl / 3)
        if ttl:
            self._expires = asked + ttl
        else:
            self._note_loss("the lease no longer exists")
        return ttl > 0

    async def _mend(self) -> None:
        """Writes the value again unless it is there.

        It is not if an update failed, if somebody deleted the key, or if etcd was slow to apply a put whose repetition
        it had already applied, and by that undid an update made in between.
        """
        async with self._writing:
            found = (await self._client.get_prefix(self._key, attempts=1)).items.get(self._key)
            if found is None:
                self._note_loss("the key was deleted")
            if found != self._value:
                await self._put()

    async def _put(self) -> None:
        await self._client.put(self._key, self._value, lease=self._lease)

    def _note_failure(self, error: EtcdError) -> None:
        """A failed call alone loses nothing: the key, once there, stays until the lease ends."""
        expired = isinstance(error, LeaseNotFoundError) or self._clock() >= self._expires
        if expired or not self._registered:
            self._note_loss(str(error))

    def _note_loss(self, reason: str) -> None:
        if self._outage.begin():
            get_logger().warning("etcd_registration_lost", key=self._name, reason=reason)
        self._set_registered(False)

    def _set_registered(self, registered: bool) -> None:
        if registered != self._registered:
            self._registered = registered
            if self._on_change:
                self._on_change(registered)

    async def _leave(self) -> None:
        lease, self._lease = self._lease, 0
        self._set_registered(False)
        if not lease:
            return
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._client.revoke_lease(lease)
        except LeaseNotFoundError:
            pass
        except (EtcdError, TimeoutError) as error:
            get_logger().warning("etcd_lease_not_revoked", key=self._name, reason=repr(error))
