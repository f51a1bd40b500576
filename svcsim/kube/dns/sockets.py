"""A DNS server on real sockets, UDP and TCP on one port, for resolvers that want to ask the simulated cluster.

Nothing of it is simulated: it answers as fast as it can, from the zone as it stood when it was started.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import struct
from collections.abc import Callable
from typing import cast

from svcsim.errors import UsageError
from svcsim.kube.dns.wire import AnswerOf, answer_message

TCP_IDLE_S = 10.0
"""How long a TCP connection may be silent (coredns core/dnsserver/server_tcp.go)."""

OnReady = Callable[[str, int], None]
"""Called with address and port once both sockets are bound."""


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer_of: AnswerOf) -> None:
        self._answer_of = answer_of
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = answer_message(data, self._answer_of, tcp=False)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer_of: AnswerOf) -> None:
    """Answer the messages of a TCP connection, each behind its length, until the client has enough."""
    with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError, ConnectionError):
        while True:
            head = await asyncio.wait_for(reader.readexactly(2), TCP_IDLE_S)
            data = await asyncio.wait_for(reader.readexactly(struct.unpack("!H", head)[0]), TCP_IDLE_S)
            reply = answer_message(data, answer_of, tcp=True)
            if reply is None:
                break
            writer.write(struct.pack("!H", len(reply)) + reply)
            await writer.drain()
    writer.close()


async def _serve(answer_of: AnswerOf, host: str, port: int, on_ready: OnReady) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        server = await asyncio.start_server(lambda reader, writer: _converse(reader, writer, answer_of), host, port)
    except OSError as error:
        raise UsageError(f"--serve: {host}:{port} cannot be used: {error.strerror or error}") from error
    async with server:
        bound = server.sockets[0].getsockname()[1]
        try:
            datagrams, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(answer_of), (host, bound))
        except OSError as error:
            raise UsageError(f"--serve: {host}:{bound}/udp cannot be used: {error.strerror or error}") from error
        on_ready(host, bound)
        await ended.wait()
        datagrams.close()


def serve(answer_of: AnswerOf, host: str, port: int, on_ready: OnReady) -> None:
    """Answer questions until SIGINT or SIGTERM; UsageError if the address or the port cannot be used. Port 0 takes a free one."""
    asyncio.run(_serve(answer_of, host, port, on_ready))
