"""A name server on loopback whose one address tests change."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from types import TracebackType
from typing import Self

_ADDRESS, _INTERNET = 1, 1
# An answer that is no error, from a server that knows the name itself (RFC 1035, section 4.1.1).
_ANSWERED = 0x8580
# "The name that was asked for", as a pointer to it (section 4.1.4).
_SAME_NAME = 0xC00C


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an IPv4 address with `address`; `async with` starts and stops it.

    No answer may be cached. There are no addresses of other kinds.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def target(self, host: str, port: int) -> str:
        """Returns what gRPC calls to have a name looked up here."""
        return f"dns://127.0.0.1:{self._port}/{host}:{port}"

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answers one question."""
        question = data[12 : data.index(b"\0", 12) + 5]
        kind = int.from_bytes(question[-4:-2])
        answers = [self._answer()] if kind == _ADDRESS else []
        header = data[:2] + struct.pack("!5H", _ANSWERED, 1, len(answers), 0, 0)
        self._transport.sendto(header + question + b"".join(answers), addr)

    def _answer(self) -> bytes:
        packed = ipaddress.IPv4Address(self.address).packed
        return struct.pack("!3HIH", _SAME_NAME, _ADDRESS, _INTERNET, 0, len(packed)) + packed

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._port: int = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()
