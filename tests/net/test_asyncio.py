"""A Decoder driven by an event loop's own buffers, as asyncio.BufferedProtocol has them."""

from __future__ import annotations

import asyncio
import importlib
import random
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from dbnfast import Decoder, Records, TruncatedWarning
from helpers import streams


class Receiver(asyncio.BufferedProtocol):
    """Hands the loop's calls on to a Decoder."""

    def __init__(self) -> None:
        self.decoder = Decoder()
        self.found: list[Records] = []
        self.closed = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.decoder.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        self.decoder.buffer_updated(nbytes)
        self.found += self.decoder.read()

    def eof_received(self) -> None:
        self.decoder.feed_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        while ready := self.decoder.read():
            self.found += ready
        self.closed.set_result(exc)


async def send(data: bytes, seed: int) -> Receiver:
    """Serve `data` in random pieces on a free local port, and receive it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rng, at = random.Random(seed), 0
        while at < len(data):
            size = rng.choice((1, 7, 100, 4096, 300_000))
            writer.write(data[at : at + size])
            at += size
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    _, receiver = await loop.create_connection(Receiver, "127.0.0.1", port)
    await asyncio.wait_for(receiver.closed, 60)
    server.close()
    await server.wait_closed()
    return receiver


NEEDS_UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")


def asyncio_run(main: Any) -> Any:
    return asyncio.run(main)


def uvloop_run(main: Any) -> Any:
    uvloop = importlib.import_module("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


BODY = b"".join(streams.trades(3) + streams.record(0x42, 24) for _ in range(4000))
HEAD = streams.header()
STREAMS = {
    "plain": HEAD + BODY,
    "zstd": streams.frame(HEAD + BODY),
    "zstd-frames": b"".join(
        streams.frame((HEAD + BODY)[at : at + 9999]) for at in range(0, len(HEAD + BODY), 9999)
    ),
}


@pytest.mark.parametrize("run", [asyncio_run, pytest.param(uvloop_run, marks=NEEDS_UVLOOP)])
@pytest.mark.parametrize("kind", STREAMS)
def test_a_loop_drives_the_decoder(run: Callable[[Any], Receiver], kind: str) -> None:
    receiver = run(send(STREAMS[kind], seed=len(kind)))
    assert b"".join(records.tobytes() for records in receiver.found) == BODY
    assert receiver.decoder.metadata is not None
    assert receiver.decoder.pending == 0


def test_a_cut_connection_delivers_what_was_whole() -> None:
    with pytest.warns(TruncatedWarning):
        receiver = asyncio_run(send(HEAD + BODY[:-5], seed=1))
    assert b"".join(records.tobytes() for records in receiver.found) == BODY[:-24]
