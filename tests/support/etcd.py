"""A real etcd server on random loopback ports, which tests may stop, kill, freeze and wipe."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from services.common.etcd import EtcdClient, EtcdError
from services.common.etcd.errors import TokenExpiredError
from services.common.etcd.methods import Method, RequestT, ResponseT
from services.common.settings import TlsSettings
from tests.support import programs
from tests.support.deadlines import stretched, within
from tests.support.ports import free_address
from tiermesh.etcd.v1 import etcd_pb2

_COMPACT = Method("/etcdserverpb.KV/Compact", etcd_pb2.CompactionRequest, etcd_pb2.CompactionResponse)
_NO_TLS = TlsSettings()
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


class EtcdServer:
    """One etcd process with its data under `directory`; `async with` starts and stops it.

    `arguments` are added to the command line. With `tls`, which the arguments must match, it is asked by TLS.
    """

    def __init__(self, directory: Path, *, arguments: Sequence[str] = (), tls: TlsSettings = _NO_TLS) -> None:
        self._data = directory / "etcd-data"
        self._log = directory / "etcd.log"
        self._arguments = arguments
        self._tls = tls
        self._address, self._peer_address = free_address(), free_address()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The client address, host:port."""
        return self._address

    @property
    def log(self) -> str:
        """What the process has written to its log."""
        return self._log.read_text(errors="replace")

    async def start(self) -> None:
        """Starts the process, with the data that is there, and waits until it serves."""
        self._process = self._spawn()
        client = EtcdClient([self.endpoint], tls=self._tls, timeout=stretched(1.0))
        try:
            async with within(_START_SECONDS):
                while not await self._serves(client):
                    pass
        except BaseException:
            await self.kill()
            raise
        finally:
            await client.close()

    async def stop(self) -> None:
        """Ends the process by SIGTERM and waits for it."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """Ends the process by SIGKILL and waits for it."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        """Stops the process if it runs, and starts it on the same ports with the same data."""
        await self.stop()
        await self.start()

    def freeze(self) -> None:
        """Stops the process where it is: it keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen process go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def wipe(self) -> None:
        """Kills the process if it runs and deletes its data; `start` then makes an empty cluster of the same name."""
        await self.kill()
        await asyncio.to_thread(shutil.rmtree, self._data)

    async def compact(self, revision: int) -> None:
        """Forgets the history before `revision`."""
        await self._call(_COMPACT, etcd_pb2.CompactionRequest(revision=revision))

    async def set_no_space(self, full: bool) -> None:
        """Raises the alarm that a full quota raises, by which nothing more is stored; or ends it."""
        # AlarmRequest: an action, to activate (1) or to deactivate (2), and the alarm NOSPACE (1).
        request = bytes([0x08, 1 if full else 2, 0x18, 1])
        async with grpc.aio.insecure_channel(self.endpoint) as channel:
            call: Any = channel.unary_unary("/etcdserverpb.Maintenance/Alarm")
            await call(request, timeout=stretched(_STOP_SECONDS), wait_for_ready=True)

    async def enable_auth(self, password: str) -> None:
        """Creates the user root with this password, and demands a token from then on."""
        await self._administer("RoleAdd", "root")
        await self._administer("UserAdd", "root", password)
        await self._administer("UserGrantRole", "root", "root")
        await self._administer("AuthEnable")

    async def _administer(self, rpc: str, name: str = "", second: str = "") -> None:
        # On the wire these requests are two strings with the same numbers as Authenticate's; only it is in our protos.
        method = Method(f"/etcdserverpb.Auth/{rpc}", etcd_pb2.AuthenticateRequest, etcd_pb2.AuthenticateResponse)
        await self._call(method, etcd_pb2.AuthenticateRequest(name=name, password=second))

    async def _call(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT:
        async with grpc.aio.insecure_channel(self.endpoint) as channel:
            call = channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)
            return await call(request, timeout=stretched(_STOP_SECONDS), wait_for_ready=True)

    async def _serves(self, client: EtcdClient) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"etcd ended while starting:\n{self.log}")
        try:
            return (await client.status()).has_leader
        except TokenExpiredError:
            # Recent releases tell their status only to those with a token, which this client does not have.
            return True
        except EtcdError:
            return False

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            await asyncio.to_thread(process.wait, stretched(_STOP_SECONDS))

    def _spawn(self) -> subprocess.Popen[bytes]:
        # Not asyncio's subprocess, which belongs to one event loop: a server may outlive the loop that starts it.
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command(), stdout=log, stderr=log, env=_environment())

    def _command(self) -> list[str]:
        scheme = "https" if self._tls.enabled else "http"
        client, peer = f"{scheme}://{self.endpoint}", f"http://{self._peer_address}"
        options = {
            "--name": "test",
            "--data-dir": str(self._data),
            "--listen-client-urls": client,
            "--advertise-client-urls": client,
            "--listen-peer-urls": peer,
            "--initial-advertise-peer-urls": peer,
            "--initial-cluster": f"test={peer}",
            # A quick election makes a quick start, and allows leases of one second.
            "--heartbeat-interval": "20",
            "--election-timeout": "200",
            # The disk is not what is tested: killing the process loses nothing that was written.
            "--unsafe-no-fsync": "true",
            "--bcrypt-cost": "4",
            # Otherwise etcd 3.4 writes in another form.
            "--logger": "zap",
            "--log-level": "warn",
        }
        return [str(programs.etcd()), *(f"{name}={value}" for name, value in options.items()), *self._arguments]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()


def _environment() -> dict[str, str]:
    """Returns the environment without ETCD_*, which etcd would take for options."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
