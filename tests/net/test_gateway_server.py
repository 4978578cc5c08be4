"""The gateway on sockets: isolation, limits, and a clean end."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import math
import re
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Decoder, RType, Schema
from dbnfast.gateway import (
    Cut,
    Faults,
    Gateway,
    Refuse,
    Reset,
    SendError,
    Silence,
    loop,
)
from dbnfast.gateway import (
    session as protocol,
)
from dbnfast.live.wire.auth import cram_response
from helpers.gateways import BEGIN, KEY, Clock, header, trades

PATIENCE = 60.0
THREAD = "dbnfast-gateway"
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == THREAD]


class Peer:
    """A client on a socket of its own."""

    def __init__(self, gateway: Gateway, *, small: bool = False) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE)
        if small:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect(("127.0.0.1", gateway.port))
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *args: object) -> None:
        self.file.close()
        self.sock.close()

    def log_in(self, **fields: object) -> bytes:
        self.file.readline()
        challenge = self.file.readline().decode().strip().removeprefix("cram=")
        given = {"auth": cram_response(challenge, KEY), "dataset": "XNAS.ITCH", **fields}
        self.send("|".join(f"{name}={value}" for name, value in given.items()))
        return self.file.readline()

    def send(self, *lines: str) -> None:
        self.sock.sendall("".join(f"{line}\n" for line in lines).encode())

    def start(self, **fields: object) -> None:
        assert self.log_in(**fields).startswith(b"success=1|")
        self.send("schema=trades|stype_in=raw_symbol|symbols=ALL_SYMBOLS", "start_session")

    def rest(self) -> bytes:
        return self.file.read()

    def wait_for_end(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self.sock.recv(65536):
                pass


def many(n: int) -> bytes:
    array = dbnfast.empty(Schema.TRADES, n)
    array["ts_event"] = array["ts_recv"] = BEGIN + np.arange(n)
    array["instrument_id"] = 1
    return dbnfast.encode(array, header(Schema.TRADES, [1]))


def sequences(data: bytes) -> list[int]:
    decoder = Decoder()
    decoder.feed(data)
    return [r.sequence for part in decoder.read() for r in part if hasattr(r, "sequence")]


def test_it_listens_on_this_machine_only_and_names_its_port() -> None:
    gateway = Gateway(trades([0]), keys=KEY)
    with pytest.raises(ValueError, match="does not run"):
        _ = gateway.port
    assert "stopped" in repr(gateway)
    with gateway:
        assert gateway.port > 0
        assert gateway.host == "127.0.0.1"
        assert str(gateway.port) in repr(gateway)
        with pytest.raises(ValueError, match="runs already"):
            gateway.start()
        with pytest.raises(OSError, match=r".+"):
            Gateway(trades([0]), keys=KEY, port=gateway.port).start()
    gateway.stop()
    assert gateway.wait_closed(0)


def test_it_may_start_again() -> None:
    gateway = Gateway(trades([0]), keys=KEY, at_end="close")
    for _ in range(2):
        with gateway, Peer(gateway) as peer:
            peer.start()
            assert sequences(peer.rest()) == [0]


def test_a_stop_ends_sessions_in_every_state() -> None:
    gateway = Gateway(many(200_000), keys=KEY).start()
    with (
        Peer(gateway) as silent,
        Peer(gateway) as known,
        Peer(gateway) as stuck,
        Peer(gateway) as done,
    ):
        known.log_in()
        stuck.start()
        done.start()
        done.file.read(200_000 * 48)
        assert gateway.sessions == 4
        assert gateway.connections == 4
        gateway.stop()
        for peer in (silent, known, stuck, done):
            peer.wait_for_end()
    assert gateway.sessions == 0


def test_a_stuck_client_does_not_hold_up_others() -> None:
    n = 400_000
    with Gateway(many(n), keys=KEY, at_end="close") as gateway, Peer(gateway, small=True) as stuck:
        stuck.start()
        for _ in range(3):
            with Peer(gateway) as peer:
                peer.start()
                assert len(peer.rest()) == 128 + 320 + 176 + n * 48
        loop = gateway._loop
        assert loop is not None
        held = [sum(map(len, c.waiting)) for c in list(loop._connections.values())]
        assert max(held, default=0) < 3 << 20
        assert len(stuck.rest()) == 128 + 320 + 176 + n * 48


def test_a_client_that_goes_away_is_forgotten() -> None:
    with Gateway(many(400_000), keys=KEY) as gateway:
        for reset in (False, True):
            with Peer(gateway, small=True) as peer:
                peer.start()
                peer.file.read(1000)
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        wait_until(lambda: gateway.sessions == 0)


def wait_until(true: Any) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come to that")


def test_an_unknown_peer_has_so_many_bytes_and_so_much_time() -> None:
    clock = Clock()
    gateway = Gateway(trades([0]), keys=KEY, clock=clock, auth_timeout_s=10)
    with gateway, Peer(gateway) as chatty, Peer(gateway) as quiet:
        chatty.file.readline()
        chatty.file.readline()
        with contextlib.suppress(ConnectionError):
            chatty.sock.sendall(b"x" * 20_000)
            assert chatty.file.readline().startswith(b"success=0|")
        chatty.wait_for_end()
        quiet.file.readline()
        quiet.file.readline()
        clock.seconds += 11
        assert quiet.rest() == b""


def test_what_is_sent_last_arrives_though_the_client_still_talks() -> None:
    with Gateway(trades([0]), keys=KEY, at_end="close") as gateway:
        for _ in range(20):
            with Peer(gateway) as peer:
                assert peer.log_in().startswith(b"success=1")
                line = "schema=trades|stype_in=raw_symbol|symbols=SYM1"
                peer.send(line, "start_session", *[line] * 50)
                assert sequences(peer.rest()) == [0]


def test_faults_on_sockets() -> None:
    faults = {0: Refuse(), 1: Reset(200), 2: Cut(200), 3: Silence(200)}
    with Gateway(trades([0]), keys=KEY, faults=faults) as gateway:
        with Peer(gateway) as refused:
            assert refused.rest() == b""
        with Peer(gateway) as reset:
            reset.start()
            with pytest.raises(ConnectionResetError):
                reset.rest()
        with Peer(gateway) as cut:
            cut.start()
            assert len(cut.rest()) == 200
        with Peer(gateway) as silent:
            silent.start()
            assert len(silent.file.read(200)) == 200
            silent.sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                silent.sock.recv(1)


def test_the_systems_clock() -> None:
    file = trades([0, 20, 40])
    with Gateway(file, keys=KEY, speed="1000x", at_end="close") as gateway, Peer(gateway) as peer:
        begin = time.time_ns()
        peer.start(ts_out=1)
        data = peer.rest()
    decoder = Decoder()
    decoder.feed(data)
    stamps = [r.ts_out for part in decoder.read() for r in part if hasattr(r, "sequence")]
    assert len(stamps) == 3
    assert stamps == sorted(stamps)
    assert stamps[2] - begin >= 39_000_000  # 40 s are 40 ms; the first may be late, none is early


def test_many_clients_at_once() -> None:
    with Gateway(many(2000), keys=KEY, at_end="close") as gateway, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(gateway)) for _ in range(50)]
        for peer in peers:
            peer.start()
        assert {len(peer.rest()) for peer in peers} == {128 + 320 + 176 + 2000 * 48}


def test_trace_and_log() -> None:
    said: list[tuple[int, str, str]] = []
    gateway = Gateway(
        trades([0]), keys=KEY, at_end="close", keep_log=True, trace=lambda *a: said.append(a)
    )
    with gateway, Peer(gateway) as peer:
        peer.start(client=KEY)
        peer.rest()
    directions = [direction for _, direction, _ in said]
    assert directions[:4] == ["send", "send", "recv", "send"]
    assert said[-1][2].endswith("bytes")
    assert [line.partition("=")[0] for _, line in gateway.log] == [
        "auth", "schema", "start_session"
    ]  # fmt: skip
    assert "client=****opqrs" in gateway.log[0][1]
    assert KEY not in repr(said) + repr(gateway.log)


@pytest.mark.skipif(not SOMAXCONN.exists(), reason="the longest queue is not known")
def test_many_clients_that_connect_at_once_need_no_second_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resource = pytest.importorskip("resource")
    n = 400
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if int(SOMAXCONN.read_text()) < n or 0 <= hard < 4 * n:
        pytest.skip("this system has no room for that many connections")
    if 0 <= soft < 4 * n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4 * n, hard))
    go, run = threading.Event(), loop.Loop.run

    def paused(self: loop.Loop) -> None:
        go.wait(PATIENCE)
        run(self)

    monkeypatch.setattr(loop.Loop, "run", paused)
    with (
        Gateway(trades([0]), keys=KEY) as gateway,
        contextlib.ExitStack() as stack,
        selectors.DefaultSelector() as selector,
    ):
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        stack.callback(go.set)
        for _ in range(n):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            assert sock.connect_ex(("127.0.0.1", gateway.port)) in (0, errno.EINPROGRESS)
            selector.register(sock, selectors.EVENT_WRITE)
        end = time.monotonic() + 20
        made = []
        while len(made) < n:  # before the gateway has taken a single one
            ready = selector.select(max(0.0, end - time.monotonic()))
            assert ready, f"{len(made)} of {n} are connected"
            for key, _ in ready:
                made.append(key.fileobj)
                selector.unregister(key.fileobj)
        assert all(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 for s in made)
        assert gateway.connections == 0
        go.set()
        for sock in made:
            sock.settimeout(PATIENCE)
            assert sock.recv(18) == b"lsg_version=0.9.4\n"
        assert gateway.connections == n


def test_a_trace_has_the_form_of_a_session_s(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    stream, logger = io.StringIO(), logging.getLogger("test_gateway_trace")
    texts = []
    for trace in (True, stream, logger):
        with caplog.at_level(logging.DEBUG, logger.name):
            gateway = Gateway(trades([0]), keys=KEY, at_end="close", trace=trace)
            with gateway, Peer(gateway) as peer:
                peer.start(client=f"{KEY}\x1b")
                peer.rest()
        texts.append(capsys.readouterr().err)
    texts[1:] = [stream.getvalue(), "\n".join(entry.getMessage() for entry in caplog.records)]
    for text in texts:
        stamps, lines = zip(*(line.split(" ", 1) for line in text.splitlines()), strict=True)
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", one) for one in stamps)
        assert lines[0] == "[send] 0 lsg_version=0.9.4"
        assert re.fullmatch(r"\[send\] 0 cram=\w{32}", lines[1])
        assert re.match(r"\[recv\] 0 auth=[0-9a-f]{64}-opqrs\|", lines[2])
        assert lines[2].endswith(r"client=****opqrs\x1b")
        assert re.fullmatch(r"\[send\] 0 success=1\|session_id=\d+", lines[3])
        assert re.match(r"\[recv\] 0 schema=trades\|", lines[4])
        assert re.match(r"\[recv\] 0 start_session", lines[5])
        assert re.fullmatch(r"\[send\] 0 \d+ bytes", lines[6])
        assert KEY not in text
    with pytest.raises(TypeError, match="trace is 5"):
        Gateway(trades([0]), keys=KEY, trace=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"keys": []}, "keys is empty"),
        ({"keys": ["abc"]}, "key has 3 characters"),
        ({"speed": "fast"}, "speed is 'fast'"),
        ({"speed": 0}, "speed is 0"),
        ({"speed": True}, "speed is True"),
        ({"at_end": "stop"}, "at_end is 'stop'"),
        ({"version": 4}, "version is 4"),
        ({"auth_timeout_s": 0}, "auth_timeout_s is 0"),
        ({"min_heartbeat_s": 0}, "min_heartbeat_s is 0"),
        ({"faults": {-1: Cut(1)}}, "connection is -1"),
        ({"faults": {0: SendError(256)}}, "code that is not 0 to 255"),
        ({"port": 70_000}, "port is 70000, expected"),
        ({"port": "80"}, "port is '80', expected"),
        ({"keys": None}, "keys is of type NoneType, expected"),
        ({"auth_timeout_s": "1"}, "auth_timeout_s is '1', expected"),
        ({"replay_window_s": None}, "replay_window_s is None, expected"),
        ({"min_heartbeat_s": 1.5}, "min_heartbeat_s is 1.5, expected"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        Gateway(trades([0]), **{"keys": KEY, **options})


# what the machine refuses, and errors of its own


def test_above_the_limit_connections_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MAX_CONNECTIONS", 1)
    with Gateway(trades([0]), keys=KEY, at_end="close") as gateway, Peer(gateway) as first:
        first.start()
        with Peer(gateway) as second:
            second.wait_for_end()
        assert sequences(first.rest()) == [0]


def test_without_descriptors_it_rests_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "REST_S", 0.02)
    refused = iter([OSError(24, "Too many open files"), ConnectionAbortedError(103, "aborted")])
    plain = socket.socket.accept

    def accept(self: socket.socket) -> Any:
        error = next(refused, None)
        if error is not None:
            raise error
        return plain(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
    with Gateway(trades([0, 1]), keys=KEY, at_end="close") as gateway, Peer(gateway) as peer:
        peer.start()
        assert sequences(peer.rest()) == [0, 1]
    assert next(refused, None) is None


def test_an_error_of_one_connection_ends_that_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = protocol.GatewaySession.receive_data

    def receive(self: Any, data: Any) -> None:
        if self.number == 0:
            raise ZeroDivisionError("of the first")
        plain(self, data)

    monkeypatch.setattr(protocol.GatewaySession, "receive_data", receive)
    with Gateway(trades([0, 1]), keys=KEY, at_end="close") as gateway, Peer(gateway) as first:
        first.send("anything")
        first.wait_for_end()
        with Peer(gateway) as second:
            second.start()
            assert sequences(second.rest()) == [0, 1]
    assert "connection 0 ends by an error" in caplog.text
    assert "ZeroDivisionError: of the first" in caplog.text


def dropped(peer: Peer) -> bool:
    """Whether the gateway closes a connection that goes on sending, sooner or later."""
    end = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end:
            peer.send("still here")
            time.sleep(0.01)
    except ConnectionError:
        return True
    return False


def test_who_neither_reads_nor_closes_is_dropped_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LINGER_S", 0.05)
    with Gateway(trades([0]), keys=KEY, at_end="close") as gateway, Peer(gateway) as peer:
        peer.start()
        rest = peer.rest()  # the end of its sending; this side does not close
        peer.send("still here")  # is heard out, and goes nowhere
        assert sequences(rest) == [0]
        assert dropped(peer)


def test_waiting_for_a_gateway_that_runs_is_in_vain() -> None:
    with Gateway(trades([0]), keys=KEY, at_end="close") as gateway:
        assert not gateway.wait_closed(0.01)
    assert gateway.wait_closed(0.01)


def test_a_trace_that_raises_ends_no_more_than_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    n = iter(range(100))

    def trace(number: int, direction: str, text: str) -> None:
        if next(n) == 0:  # of the greeting, as the connection is made
            raise ZeroDivisionError("of the trace")

    with Gateway(trades([0, 1]), keys=KEY, at_end="close", trace=trace) as gateway:
        with Peer(gateway) as first:
            assert first.rest() == b""
        with Peer(gateway) as second:
            second.start()
            assert sequences(second.rest()) == [0, 1]
    assert "ZeroDivisionError: of the trace" in caplog.text


def test_error_records_of_any_code() -> None:
    faults = Faults.parse(["0:error@10=99,what is new"])
    with (
        Gateway(trades([0, 1]), keys=KEY, at_end="close", faults=faults) as gateway,
        Peer(gateway) as peer,
    ):
        peer.start()
        data = peer.rest()
    assert sequences(data) == [0, 1]
    (error,) = dbnfast.scan(data).filter(RType.ERROR)
    assert (error.code, error.err) == (99, "what is new")


def test_a_replay_may_go_back_without_limit() -> None:
    with (
        Gateway(
            trades([0]), keys=KEY, at_end="close", speed=1000, replay_window_s=math.inf
        ) as gateway,
        Peer(gateway) as peer,
    ):
        assert peer.log_in().startswith(b"success=1|")
        peer.send("schema=trades|stype_in=raw_symbol|symbols=ALL_SYMBOLS|start=1", "start_session")
        assert sequences(peer.rest()) == [0]
