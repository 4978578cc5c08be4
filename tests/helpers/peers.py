"""Gateways that follow a script: on real sockets, for what a well-behaved one never does."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self

from dbnfast import Live
from dbnfast.live.wire.auth import matching_key
from helpers import streams

KEY = "db-0123456789abcdefghijklmnopqrs"
CHALLENGE = "t7kNhwj4xqR0QYjzFKtBEG2ec2pXJ4FK"
TIMEOUT = 20  # s: so that a mistake ends a test
TRADES = [streams.trade(i) for i in range(50)]
BODY = b"".join(TRADES)


def live_header(version: int = 3, *, ts_out: int = 0, start: int = 1_000) -> bytes:
    """The header of a live stream."""
    return streams.header(version, None, ts_out=ts_out, start=start)


def system(text: str = "Heartbeat", code: int = 0, ts_event: int = 1_000) -> bytes:
    """A system record of version 3."""
    body = text.encode().ljust(303, b"\0") + bytes([code])
    return struct.pack("<BBHIQ", 80, 23, 0, 0, ts_event) + body


def error(text: str, code: int, ts_event: int = 1_000, is_last: int = 1) -> bytes:
    """An error record of version 3."""
    body = text.encode().ljust(302, b"\0") + bytes([code, is_last])
    return struct.pack("<BBHIQ", 80, 21, 0, 0, ts_event) + body


def mapping(instrument_id: int, symbol_in: str, symbol_out: str, ts_event: int = 1_000) -> bytes:
    """A symbol mapping record of version 3."""
    body = b"\xff" + symbol_in.encode().ljust(71, b"\0")
    body += b"\xff" + symbol_out.encode().ljust(71, b"\0")
    body += struct.pack("<QQ", 2**64 - 1, 2**64 - 1)
    return struct.pack("<BBHIQ", 44, 22, 0, instrument_id, ts_event) + body


def wait_until(true: Callable[[], Any]) -> None:
    """Wait until something is so that another thread brings about."""
    end = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


class Talk:
    """One connection as the script sees it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.lines: list[bytes] = []
        self.ended = threading.Event()
        self._held = b""

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def line(self) -> bytes:
        """Read a line; empty at the end of the connection."""
        while b"\n" not in self._held:
            piece = self.sock.recv(1 << 16)
            if not piece:
                return b""
            self._held += piece
        line, _, self._held = self._held.partition(b"\n")
        self.lines.append(line)
        return line

    def greet(self, *, session_id: str = "17", reply: bytes | None = None) -> bytes:
        """Let the client in; the line that it authenticated with."""
        self.send(b"lsg_version=0.9.4\ncram=" + CHALLENGE.encode() + b"\n")
        auth = self.line()
        if not auth:
            raise ConnectionAbortedError("the client ended the connection")
        answer = auth.split(b"|")[0].removeprefix(b"auth=").decode()
        assert matching_key(CHALLENGE, answer, [KEY]) == KEY
        self.send(
            b"success=1|session_id=" + session_id.encode() + b"\n" if reply is None else reply
        )
        return auth

    def until_start(self) -> list[bytes]:
        """Read the subscriptions, up to the line that starts the session."""
        asked = []
        while (line := self.line()) and not line.startswith(b"start_session"):
            asked.append(line)
        return asked

    def reset(self) -> None:
        """End the connection rudely."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_for_end(self) -> None:
        """Wait until the client closes the connection."""
        with suppress(ConnectionError):
            while self.sock.recv(1 << 16):
                pass
        self.ended.set()

    def was_ended(self) -> bool:
        """Whether the client closed the connection that a script waits on; for the test."""
        return self.ended.wait(TIMEOUT)


class Peer:
    """A listener that plays a script for each connection, the last one for all after it."""

    def __init__(self, *scripts: Callable[[Talk], Any]) -> None:
        self.scripts: Sequence[Callable[[Talk], Any]] = scripts
        self.talks: list[Talk] = []
        self.failures: list[BaseException] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT)
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping = True
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self._thread.join(TIMEOUT)
        self._listener.close()
        for talk in self.talks:
            with suppress(OSError):
                talk.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT)
        for talk in self.talks:
            talk.sock.close()
        if exc == (None, None, None) and self.failures:
            raise self.failures[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stopping:
                sock.close()
                return
            sock.settimeout(TIMEOUT)
            talk = Talk(sock, len(self.talks))
            self.talks.append(talk)
            script = self.scripts[min(talk.number, len(self.scripts) - 1)]
            thread = threading.Thread(target=self._play, args=(script, talk), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, script: Callable[[Talk], Any], talk: Talk) -> None:
        try:
            script(talk)
        except OSError:
            pass  # the client ended the connection, which is for the test to judge
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            talk.sock.close()


def serving(*blocks: bytes, header: bytes | None = None, stay: bool = False) -> Callable[..., None]:
    """A script that lets the client in, sends blocks, and closes or stays."""

    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send((live_header() if header is None else header) + b"".join(blocks))
        if stay:
            talk.wait_for_end()

    return script


def paced(n: int, seconds: float) -> Callable[[Talk], None]:
    """A script that sends trades one by one."""

    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(live_header())
        for i in range(n):
            talk.send(streams.trade(i))
            time.sleep(seconds)

    return script


def flood(talk: Talk) -> None:
    """A script that sends trades for as long as anybody takes them."""
    talk.greet()
    talk.until_start()
    talk.send(live_header())
    while True:
        talk.send(BODY)


def client(peer: Peer, **options: Any) -> Live:
    """A client that ends with its connection, unless told otherwise."""
    options.setdefault("reconnect_policy", "none")
    return Live(KEY, "127.0.0.1", peer.port, **options)


def subscribed(peer: Peer, **options: Any) -> Live:
    """The same with a subscription."""
    live = client(peer, **options)
    assert live.subscribe("GLBX.MDP3", "trades", "ES.FUT", "parent") == 0
    return live
