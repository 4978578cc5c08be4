"""The blocking client over loopback, against gateways that follow a script."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import importlib
import io
import logging
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast import (
    AuthenticationError,
    ConnectError,
    Disconnected,
    ErrorEvent,
    GatewayError,
    HeartbeatTimeout,
    Live,
    Reconnected,
    Records,
    RemoteProtocolError,
    RType,
    SessionClosed,
    Skipped,
    SystemMsg,
    TradeMsg,
)
from dbnfast.codec.compression import zstd
from dbnfast.enums import SystemCode
from dbnfast.live import base
from dbnfast.live.hours import MarketHours
from dbnfast.live.session import link, retry, session
from dbnfast.live.sync import pump
from helpers import peers, streams
from helpers.peers import BODY, KEY, TRADES, Peer, Talk, client, serving, subscribed

pytestmark = pytest.mark.usefixtures("quick")


def body_of(items: Any) -> bytes:
    return b"".join(bytes(item) for item in items if isinstance(item, Records))


# --- ways of taking the records ---------------------------------------------------------------


def test_iteration_gives_records_in_the_callers_thread() -> None:
    before = threading.active_count()
    with Peer(serving(BODY, peers.system())) as peer:
        live = subscribed(peer)
        assert live.is_connected()
        assert live.session_id == "17"
        threads = set()
        records = []
        for record in live:
            records.append(record)
            threads.update(t.name for t in threading.enumerate())
        assert not any(name.startswith("dbnfast") for name in threads)
        assert b"".join(bytes(r) for r in records) == BODY + peers.system()
        assert isinstance(records[0], TradeMsg)
        assert isinstance(records[-1], SystemMsg)
        assert not live.is_connected()
        assert live.metadata is not None
        assert live.metadata.start == 1_000
        (lines,) = [talk.lines for talk in peer.talks]
        assert lines[1] == (
            b"schema=trades|stype_in=parent|symbols=ES.FUT|snapshot=0|id=0|is_last=1"
        )
        assert lines[2].startswith(b"start_session")
    assert threading.active_count() <= before


def test_batches_are_views() -> None:
    with Peer(serving(BODY)) as peer:
        batches = list(subscribed(peer).batches())
    assert body_of(batches) == BODY
    array = batches[0].array("trades")
    assert not array.flags.writeable
    assert array["price"][1] == 10**9


def test_max_wait_gives_empty_batches() -> None:
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        seen = []
        for records in live.batches(max_wait=0.02):
            seen.append(len(records))
            if seen[-1] == 0 and sum(seen) == len(TRADES):
                break
        assert seen[-1] == 0
        assert peer.talks[0].was_ended()  # leaving the loop ended the session
        assert not live.is_connected()


def test_callbacks_run_in_a_thread() -> None:
    got: list[Any] = []
    names = set()

    def on_record(record: Any) -> None:
        got.append(record)
        names.add(threading.current_thread().name)

    with Peer(serving(BODY)) as peer:
        live = client(peer)
        live.subscribe(dataset="GLBX.MDP3", schema="trades", stype_in="parent", symbols="ES.FUT")
        live.add_callback(on_record)
        live.start()
        live.block_for_close(timeout=peers.TIMEOUT)
    assert b"".join(bytes(r) for r in got) == BODY
    assert names == {"dbnfast-live"}


def test_several_callbacks_get_each_record_in_turn() -> None:
    order: list[tuple[str, int]] = []
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_callback(lambda r: order.append(("a", r.sequence)))
        live.add_callback(lambda r: order.append(("b", r.sequence)))
        live.start()
        live.block_for_close(peers.TIMEOUT)
    assert order == [(name, i) for i in range(len(TRADES)) for name in "ab"]


@pytest.mark.parametrize("n_before", [1, 2])
@pytest.mark.parametrize("ends", [False, True])
def test_a_callback_added_inside_a_callback_gets_the_next_record(n_before: int, ends: bool) -> None:
    first: list[int] = []
    got: list[int] = []

    def add(record: Any) -> None:
        first.append(record.sequence)
        if record.sequence == 10:
            live.add_callback(lambda r: got.append(r.sequence))
            if ends:
                live.terminate()
            raise ArithmeticError

    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_callback(add, lambda error: None)
        for _ in range(n_before - 1):
            live.add_callback(lambda r: None)
        live.start()
        live.block_for_close(peers.TIMEOUT)
    assert first == list(range(11 if ends else len(TRADES)))
    assert got == ([] if ends else list(range(11, len(TRADES))))


def test_callbacks_beside_iteration() -> None:
    got: list[Any] = []
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_callback(got.append)
        assert len(list(live)) == len(got) == len(TRADES)


def test_a_callback_that_raises() -> None:
    errors: list[Exception] = []
    got: list[int] = []

    def broken(record: Any) -> None:
        got.append(record.sequence)
        if record.sequence % 10 == 3:
            raise ArithmeticError(record.sequence)

    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_callback(broken, errors.append)
        live.start()
        live.block_for_close(peers.TIMEOUT)
    assert got == list(range(len(TRADES)))
    assert [str(error) for error in errors] == ["3", "13", "23", "33", "43"]


def test_a_callback_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(record: Any) -> None:
        raise ArithmeticError("no")

    def broken_too(error: Exception) -> None:
        raise ValueError("worse")

    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_callback(broken)
        live.add_callback(lambda r: 1 / 0, broken_too)
        live.start()
        live.block_for_close(peers.TIMEOUT)
    text = caplog.text
    assert text.count("ArithmeticError") >= len(TRADES)
    assert "the exception callback raised ValueError('worse')" in text


@pytest.mark.parametrize("name", ["add_callback", "add_reconnect_callback"])
def test_callbacks_must_be_callable(name: str) -> None:
    if name == "add_reconnect_callback":
        pytest.importorskip("pandas")
    live = Live(KEY)
    with pytest.raises(ValueError, match="callable"):
        getattr(live, name)(1)
    with pytest.raises(ValueError, match="callable"):
        getattr(live, name)(print, 1)


def test_streams_get_dbn(tmp_path: Path) -> None:
    path, buffer = tmp_path / "out.dbn", io.BytesIO()
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_stream(path)
        live.add_stream(buffer)
        with pytest.raises(FileExistsError):
            live.add_stream(str(path))
        live.start()
        live.block_for_close(peers.TIMEOUT)
        assert live.metadata is not None
    for data in (path.read_bytes(), buffer.getvalue()):
        records = dbnfast.scan(data)
        assert bytes(records) == BODY
        assert records.metadata == live.metadata
    with pytest.raises(ValueError, match="write"):
        live.add_stream(object())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not writable"):
        live.add_stream(io.BufferedReader(io.BytesIO()))  # type: ignore[arg-type]


def test_a_stream_that_raises() -> None:
    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    errors: list[Exception] = []
    got: list[Any] = []
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_stream(Full(), errors.append)
        live.add_callback(got.append)
        live.start()
        live.block_for_close(peers.TIMEOUT)
    assert len(got) == len(TRADES)
    assert errors


def test_a_subscription_inside_a_callback() -> None:
    asked: list[bytes] = []

    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(peers.live_header() + TRADES[0])
        asked.append(talk.line())
        talk.send(TRADES[1])

    ids: list[int] = []

    def on_record(record: Any) -> None:
        if not ids:
            ids.append(live.subscribe("GLBX.MDP3", "mbp-1", "NQ.FUT", "parent"))

    with Peer(script) as peer:
        live = subscribed(peer)
        live.add_callback(on_record)
        live.start()
        live.block_for_close(peers.TIMEOUT)
    assert ids == [1]
    assert asked[0].startswith(b"schema=mbp-1|stype_in=parent|symbols=NQ.FUT")
    assert len(live.subscription_requests) == 2


def test_a_callback_cannot_wait_for_its_own_session() -> None:
    errors: list[Exception] = []
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_callback(lambda r: live.block_for_close(), errors.append)
        live.start()
        live.block_for_close(peers.TIMEOUT)
    assert len(errors) == len(TRADES)
    assert isinstance(errors[0], RuntimeError)


# --- ends -------------------------------------------------------------------------------------


def test_break_ends_the_session() -> None:
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        for record in live:
            assert record.sequence == 0
            break
        gc.collect()
        assert not live.is_connected()
        assert peer.talks[0].was_ended()


def test_collection_ends_the_session() -> None:
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        live.add_callback(lambda r: None)
        live.start()
        gone = weakref.ref(live)
        del live
        gc.collect()
        assert gone() is None
        assert peer.talks[0].was_ended()


def test_with_ends_the_session() -> None:
    with Peer(serving(BODY, stay=True)) as peer:
        with subscribed(peer) as live:
            assert len(next(live.batches())) > 0
        assert not live.is_connected()
        assert peer.talks[0].was_ended()


def test_an_exception_in_the_loop_ends_the_session() -> None:
    def consume(live: Live) -> None:
        for record in live:
            raise ArithmeticError(record.sequence)

    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        with pytest.raises(ArithmeticError):
            consume(live)
        del live
        gc.collect()
        assert peer.talks[0].was_ended()


def test_keyboard_interrupt_while_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        batches = live.batches()
        n = len(next(batches))
        monkeypatch.setattr(pump, "_receive", interrupted)
        rest: list[Records] = []
        with pytest.raises(KeyboardInterrupt):
            rest.extend(batches)
        monkeypatch.undo()
        assert n + sum(len(records) for records in rest) == len(TRADES)
        assert peer.talks[0].was_ended()


def test_an_interrupt_while_reading_blocks() -> None:
    with Peer(serving(BODY, stay=True)) as peer:
        batches = subscribed(peer).batches()
        n = len(next(batches))
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        rest: list[Records] = []

        def read() -> None:
            timer.start()
            rest.extend(batches)

        with pytest.raises(KeyboardInterrupt):
            read()
        timer.join()
        assert n + sum(len(records) for records in rest) == len(TRADES)
        assert peer.talks[0].was_ended()


@pytest.mark.parametrize("how", ["stop", "terminate"])
def test_without_reads_that_block(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # as on systems where a read cannot be given a limit
    monkeypatch.setattr(pump, "BLOCKS", False)
    with Peer(serving(BODY)) as peer:
        assert len(list(subscribed(peer))) == len(TRADES)
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        timer = threading.Timer(0.1, getattr(live, how))
        n = 0
        for _ in live:
            n += 1
            if n == len(TRADES):
                timer.start()
        timer.join()
        assert n == len(TRADES)
        assert peer.talks[0].was_ended()


@pytest.mark.parametrize("blocks", [True, False])
def test_waiting_for_the_end_of_what_has_not_begun(
    blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not blocks:
        monkeypatch.setattr(pump, "BLOCKS", False)
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        timer = threading.Timer(0.1, live.stop)
        timer.start()
        live.block_for_close()  # there is no heartbeat to wait for before start()
        timer.join()


def test_the_header_is_there_before_the_first_record() -> None:
    with Peer(serving()) as peer:
        live = subscribed(peer)
        assert list(live) == []
        assert live.metadata is not None


@pytest.mark.parametrize("how", ["stop", "terminate"])
def test_stop_from_another_thread(how: str) -> None:
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        got = []
        timer = threading.Timer(0.1, getattr(live, how))
        for record in live:
            got.append(record)
            if len(got) == len(TRADES):
                timer.start()
        timer.join()
        assert len(got) == len(TRADES)
        assert peer.talks[0].was_ended()
        with pytest.raises(ValueError, match="not ended"):
            live.start()


def test_block_for_close_terminates_when_time_is_up() -> None:
    got: list[Any] = []
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        live.add_callback(got.append)
        live.start()
        peers.wait_until(lambda: len(got) == len(TRADES))
        live.block_for_close(timeout=0.3)
        assert not live.is_connected()
        assert len(got) == len(TRADES)
        assert peer.talks[0].was_ended()


def test_block_for_close_without_anybody_to_take_the_records() -> None:
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.start()
        live.block_for_close(peers.TIMEOUT)
        assert live.stats().records == len(TRADES)


def test_a_client_is_used_again_with_another_dataset() -> None:
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        with pytest.raises(ValueError, match="one session has one dataset"):
            live.subscribe("XNAS.ITCH", "trades")
        assert len(list(live)) == len(TRADES)
        assert live.subscribe("XNAS.ITCH", "trades") == 0
        assert live.dataset == "XNAS.ITCH"
        assert len(list(live)) == len(TRADES)
        assert b"dataset=XNAS.ITCH" in peer.talks[1].lines[0]


def test_two_clients_in_one_process() -> None:
    with Peer(serving(BODY)) as peer:
        one, two = subscribed(peer), subscribed(peer)
        pairs = zip(one, two, strict=True)
        assert all(bytes(a) == bytes(b) for a, b in pairs)
        assert len(peer.talks) == 2


def test_use_before_a_session() -> None:
    live = Live(KEY)
    for call in (live.start, live.batches):
        with pytest.raises(ValueError, match=r"subscribe\(\)"):
            call()
    assert live.metadata is live.session_id is None
    assert live.dataset == ""
    assert (live.stats().records, live.gaps, live.symbology_map) == (0, [], {})
    assert not live.is_connected()
    # what they are for is done, as in the official client
    clients = [live]
    with contextlib.suppress(ImportError):
        clients.append(importlib.import_module("databento").Live(KEY))
    for one in clients:
        for name in ("stop", "terminate", "block_for_close"):
            assert getattr(one, name)() is None
        assert asyncio.run(one.wait_for_close()) is None


def test_start_twice_and_iteration_beside_callbacks() -> None:
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        live.add_callback(lambda r: None)
        live.start()
        with pytest.raises(ValueError, match="started already"):
            live.start()
        with pytest.raises(ValueError, match="without calling start"):
            live.batches()
        with pytest.raises(ValueError, match="session has begun"):
            live.subscribe("GLBX.MDP3", "mbo", "A", start=0)
        live.terminate()


# --- iterators and ends -----------------------------------------------------------------------


@pytest.mark.parametrize("taken", [0, 1])
def test_what_an_iterator_has_not_given_yet_outlives_the_end(taken: int) -> None:
    records = BODY[: 7 * len(TRADES[0])]
    called: list[Any] = []
    with Peer(serving(records, stay=True)) as peer:
        live = subscribed(peer)
        live.add_callback(called.append)
        iterator = iter(live)
        first = [next(iterator) for _ in range(taken)]
        live.block_for_close(timeout=0.5)
        assert not live.is_connected()
        assert len(called) == 7  # each once, whoever took it
        assert len([*first, *iterator]) == 7
    assert len(called) == 7


def test_the_end_takes_what_has_arrived() -> None:
    sent = threading.Event()

    def serve(talk: Talk) -> None:
        serving(BODY[: 7 * len(TRADES[0])], stay=False)(talk)
        sent.set()

    with Peer(serve) as peer:
        live = subscribed(peer, reconnect_policy="none")
        iterator = iter(live)
        assert sent.wait(peers.TIMEOUT)
        live.stop()
        assert len(list(iterator)) == 7


def test_a_gateway_that_ends_the_session_leaves_an_iterator_its_records() -> None:
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer, reconnect_policy="none")
        batches = live.batches()
        live.block_for_close(peers.TIMEOUT)
        assert sum(map(len, batches)) == len(TRADES)


def test_an_iterator_that_was_dropped_takes_nothing() -> None:
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        for _ in live:
            break
        live.stop()
        live.block_for_close(timeout=peers.TIMEOUT)
        assert live.stats().backlog_records == 0


def test_a_first_subscription_that_failed_is_not_raised_again() -> None:
    live = Live(KEY, "127.0.0.1", 1)
    try:
        with pytest.raises(ConnectError):
            live.subscribe("GLBX.MDP3", "trades")
    finally:
        live.stop()
        live.block_for_close(timeout=peers.TIMEOUT)
    with pytest.raises(ConnectError):
        live.start()


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["none", "reconnect"])
def test_a_refused_key(policy: str) -> None:
    def script(talk: Talk) -> None:
        talk.greet(reply=b"success=0|error=Authentication failed.\n")

    with Peer(script) as peer:
        with pytest.raises(AuthenticationError, match="Authentication failed"):
            subscribed(peer, reconnect_policy=policy)
        assert len(peer.talks) == 1


def test_no_connection() -> None:
    with Peer() as peer:
        port = peer.port
    live = Live(KEY, "127.0.0.1", port, reconnect_policy="none")
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1"):
        live.subscribe("GLBX.MDP3", "trades")


def test_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise OSError("Name or service not known")

    monkeypatch.setattr(pump.socket, "getaddrinfo", unknown)
    live = Live(KEY, reconnect_policy="none")
    with pytest.raises(ConnectError, match=r"glbx-mdp3\.lsg\.databento\.com"):
        live.subscribe("GLBX.MDP3", "trades")


def test_every_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with Peer() as closed:
        dead = closed.port
    with Peer(serving(BODY)) as peer:
        found = pump.socket.getaddrinfo

        def two(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            both = [found("127.0.0.1", p, *args, **kwargs) for p in (dead, port)]
            return both[0] + both[1]

        monkeypatch.setattr(pump.socket, "getaddrinfo", two)
        assert len(list(subscribed(peer))) == len(TRADES)


def test_hosts() -> None:
    assert base.host_of("GLBX.MDP3") == "glbx-mdp3.lsg.databento.com"
    assert base.host_of("A.B.C") == "a-b-c.lsg.databento.com"


@pytest.mark.parametrize("code", [1, 2, 3, 5, 6, 8])
def test_a_fatal_error_comes_after_the_records(code: int) -> None:
    record = peers.error(f"no more, {KEY}", code)
    with Peer(serving(BODY, record)) as peer:
        live = subscribed(peer)
        got: list[Any] = []
        with pytest.raises(GatewayError, match="no more") as caught:
            got.extend(live.events())
        assert caught.value.code == code
        assert KEY not in str(caught.value)
        assert body_of(got) == BODY + record
        (event,) = [item for item in got if isinstance(item, ErrorEvent)]
        assert (event.code, event.fatal) == (code, True)
        with pytest.raises(GatewayError):
            live.block_for_close()


@pytest.mark.parametrize("code", [1, 2, 5, 8])
def test_fatal_errors_are_not_tried_again(code: int) -> None:
    with Peer(serving(BODY, peers.error("no", code), stay=True)) as peer:
        live = subscribed(peer, reconnect_policy="reconnect")
        with pytest.raises(GatewayError):
            list(live)
        assert len(peer.talks) == 1


@pytest.mark.parametrize("code", [4, 7])
@pytest.mark.parametrize("how", ["iteration", "callback"])
def test_errors_that_are_not_fatal(code: int, how: str) -> None:
    record = peers.error("Failed to resolve symbol X", code)
    with Peer(serving(TRADES[0], record, TRADES[1])) as peer:
        live = subscribed(peer)
        got: list[Any] = []
        if how == "callback":
            live.add_callback(got.append)
            live.start()
            live.block_for_close(peers.TIMEOUT)  # which raises nothing
            assert b"".join(bytes(r) for r in got) == TRADES[0] + record + TRADES[1]
        else:
            got = list(live.events())
            assert body_of(got) == TRADES[0] + record + TRADES[1]
            (event,) = [item for item in got if isinstance(item, ErrorEvent)]
            assert (event.code, event.fatal) == (code, False)


def test_ends_without_reconnecting() -> None:
    taken = threading.Event()

    def reset(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(peers.live_header() + BODY)
        taken.wait(peers.TIMEOUT)  # a reset drops what was not read
        talk.reset()

    def take() -> None:
        for record in subscribed(peer):
            got.append(record)
            if len(got) == len(TRADES):
                taken.set()

    with Peer(reset) as peer:
        got: list[Any] = []
        with pytest.raises(SessionClosed, match="broke"):
            take()
        assert len(got) == len(TRADES)
    with Peer(serving(BODY[:-7])) as peer:  # the last record is cut
        assert len(list(subscribed(peer))) == len(TRADES) - 1
    with (
        Peer(lambda talk: talk.send(b"220 mail.example.com\r\n")) as peer,
        pytest.raises(RemoteProtocolError, match="greeting"),
    ):
        subscribed(peer)
    with (
        Peer(lambda talk: None) as peer,
        pytest.raises(ConnectError, match=r"no session .* closed"),
    ):
        subscribed(peer)
    with (
        Peer(serving(BODY, bytes(16))) as peer,
        pytest.raises(dbnfast.InvalidRecordError, match="record 50"),
    ):
        list(subscribed(peer))


@pytest.mark.skipif(
    not hasattr(select, "poll"), reason="only poll sees a reset and leaves it there"
)
def test_a_reset_that_sending_came_upon_is_an_error() -> None:
    taken = threading.Event()

    def reset(talk: Talk) -> None:
        serving(BODY)(talk)
        taken.wait(peers.TIMEOUT)
        talk.reset()

    with Peer(reset) as peer:
        live = subscribed(peer)
        batches = live.batches()
        n = 0
        while n < len(TRADES):
            n += len(next(batches))
        assert live._engine is not None
        assert live._engine._pump._sock is not None
        poll = select.poll()
        poll.register(live._engine._pump._sock, 0)
        taken.set()
        assert poll.poll(peers.TIMEOUT * 1000)
        for _ in range(2):  # the second send only says that the pipe is broken
            live.subscribe("GLBX.MDP3", "mbo", "ES.FUT", "parent")
        with pytest.raises(SessionClosed, match="broke"):
            next(batches)


@pytest.mark.parametrize("blocks", [(), (b"header",), (b"header", BODY)])
def test_silence(monkeypatch: pytest.MonkeyPatch, blocks: tuple[bytes, ...]) -> None:
    # time enough for records to come on a busy machine, where any are to
    monkeypatch.setattr(session, "HEARTBEAT_S", 2.0 if BODY in blocks else 0.2)
    monkeypatch.setattr(link, "MARGIN", 0.1)

    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        for block in blocks:
            talk.send(peers.live_header() if block == b"header" else block)
        talk.wait_for_end()

    with Peer(script) as peer:
        got: list[Any] = []
        with pytest.raises(HeartbeatTimeout, match="heartbeat every"):
            got.extend(subscribed(peer))
        assert len(got) == (len(TRADES) if len(blocks) == 2 else 0)


def test_silence_is_judged_after_the_socket_was_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT_S", 1.0)  # longer than a busy machine holds up a peer
    monkeypatch.setattr(link, "MARGIN", 0.5)
    with Peer(serving(BODY * 20_000)) as peer:  # 48 MB: most of it waits in the kernel
        n = 0
        for records in subscribed(peer).batches():
            if n < 20:
                time.sleep(1.8 if n == 0 else 0)
            n += len(records)
        assert n == len(TRADES) * 20_000


def test_an_authentication_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "AUTH_TIMEOUT", 2.0)  # the greeting comes in this time
    with (
        Peer(lambda talk: (talk.send(b"lsg_version=1\n"), talk.wait_for_end())) as peer,
        pytest.raises(ConnectError, match="challenge"),
    ):
        subscribed(peer)


# --- new connections --------------------------------------------------------------------------


def refuse(talk: Talk) -> None:
    return


def mumble(talk: Talk) -> None:
    talk.send(b"lsg_vers")


def half(talk: Talk) -> None:
    talk.greet()
    talk.until_start()
    talk.send(peers.live_header()[:50])


def rude(talk: Talk) -> None:
    talk.greet()
    talk.until_start()
    talk.reset()


def busy(talk: Talk) -> None:
    talk.greet(reply=b"success=0|error=User has reached their open connection limit\n")


def broken(talk: Talk) -> None:
    talk.greet()
    talk.until_start()
    talk.send(peers.live_header() + peers.error("Internal error", 6))


@pytest.mark.parametrize("between", [refuse, mumble, half, rude, busy, broken])
def test_the_session_goes_on(between: Any) -> None:
    pandas = pytest.importorskip("pandas")
    first, second = BODY[:480], BODY[480:960]
    with Peer(serving(first), between, between, serving(second, stay=True)) as peer:
        live = client(peer, reconnect_policy="reconnect")
        live.subscribe("GLBX.MDP3", "trades", ["A", "B"])
        live.subscribe("GLBX.MDP3", "mbp-1", [f"S{i}" for i in range(501)])
        heard: list[Any] = []
        live.add_reconnect_callback(lambda start, end: heard.append((start, end)))
        items = []
        for item in live.events():
            items.append(item)
            if len(body_of(items)) >= 960 and between is not broken:
                break
            if isinstance(item, Records) and second in bytes(item):
                break
        market = b"".join(
            bytes(item.filter("trades")) for item in items if isinstance(item, Records)
        )
        assert market == first + second
        (event, *_) = [item for item in items if isinstance(item, Reconnected)]
        assert event.attempts >= 1
        assert event.last_ns == 10**18 + 9
        began, ended = heard[-1]
        assert began == pandas.Timestamp(10**18 + 9, tz="UTC")
        assert ended == pandas.Timestamp(event.metadata.start, tz="UTC")
        asked = [talk.lines[1:] for talk in peer.talks if len(talk.lines) > 3]
        assert len(asked) >= 2
        for lines in asked:  # in order, with the same ids and marks
            assert [line.split(b"|")[0] for line in lines[:3]] == [
                b"schema=trades", b"schema=mbp-1", b"schema=mbp-1",
            ]  # fmt: skip
            ends = [line.split(b"|")[-2:] for line in lines[1:3]]
            assert ends == [[b"id=1", b"is_last=0"], [b"id=1", b"is_last=1"]]


def test_the_first_connection_is_tried_again_too() -> None:
    with Peer(refuse, serving(BODY, stay=True)) as peer:
        live = subscribed(peer, reconnect_policy="reconnect", retry_first=True)
        assert live.session_id is None
        assert not live.is_connected()
        waiting = live.stats().disconnected
        assert waiting is not None
        assert waiting.host == f"127.0.0.1:{peer.port}"
        items = []
        for item in live.events():
            items.append(item)
            if sum(len(one) for one in items if isinstance(one, Records)) == len(TRADES):
                break
        assert items[0] == waiting
        assert live.stats().disconnected is None


def test_the_first_connection_is_an_error_for_every_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    family, kind = socket.AF_INET, socket.SOCK_STREAM
    found = [(family, kind, 0, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    live = dbnfast.Live(KEY, "two.example", port, dataset="GLBX.MDP3")
    with pytest.raises(ConnectError) as caught:
        live.subscribe(schema="trades")
    text = str(caught.value)
    assert text.startswith(f"no connection to two.example:{port}: 127.0.0.1: ")
    assert "; 127.0.0.2: " in text
    assert not live.is_connected()


def test_an_outage_is_seen_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(retry, "MAX_RETRY", 0.05)
    peer = Peer(serving(BODY))
    with peer:
        live = subscribed(peer, reconnect_policy="reconnect")
        events = live.events()
        n = 0
        while n < len(TRADES):
            item = next(events)
            n += len(item) if isinstance(item, Records) else 0
    # the listener is closed now
    gone = next(item for item in events if isinstance(item, Disconnected) and item.attempt >= 2)
    assert gone.errno == errno.ECONNREFUSED
    assert not live.is_connected()
    assert live.stats().disconnected is not None
    live.terminate()
    assert live.stats().disconnected is None


def test_stop_while_waiting_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_RETRY", 30)
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer, reconnect_policy="reconnect")
        timer = threading.Timer(0.2, live.stop)
        n = 0
        for _ in live:
            n += 1
            if n == len(TRADES):
                timer.start()
        timer.join()
        assert n == len(TRADES)


# --- slow consumers ---------------------------------------------------------------------------


def bursts(n: int) -> Any:
    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(peers.live_header() + peers.mapping(100, "ES.FUT", "ESZ4"))
        for _ in range(n):
            talk.send(BODY * 100)
        talk.send(peers.system("the last", 0))

    return script


@pytest.mark.parametrize("on_slow", ["drop_oldest", "latest"])
def test_what_is_dropped_is_reported(on_slow: str) -> None:
    n_sent = 40 * 100 * len(TRADES)
    with Peer(bursts(40)) as peer:
        live = subscribed(peer, on_slow=on_slow, max_buffer=1 << 20)
        items = []
        for item in live.events():
            items.append(item)
            if len(items) == 1:
                while live.stats().records < n_sent + 2:
                    time.sleep(0.01)
        skipped = [item for item in items if isinstance(item, Skipped)]
        assert skipped
        assert all(item.reason == on_slow for item in skipped)
        got = [item for item in items if isinstance(item, Records)]
        n_got = sum(len(records.filter("trades")) for records in got)
        n_skipped = sum(item.n_records for item in skipped)
        assert n_got + n_skipped == n_sent
        assert live.stats().skipped == n_skipped
        assert sum(item.counts[RType.MBP_0] for item in skipped) == n_skipped
        control = [r for records in got for r in records if r.rtype > 20]
        assert [r.rtype for r in control] == [RType.SYMBOL_MAPPING, RType.SYSTEM]
        if on_slow == "latest":
            # those that were kept stand behind the note of the dropped ones; more may have come
            at = max(i for i, item in enumerate(items) if isinstance(item, Skipped))
            kept = [item for item in items[at:] if isinstance(item, Records)]
            last = {r.instrument_id: r.sequence for part in kept for r in part if r.rtype == 0}
            assert last == {100 + i: i for i in range(len(TRADES))}
        else:
            tail = b"".join(bytes(records) for records in got)
            assert tail.endswith(BODY * 100 + peers.system("the last", 0))


def test_a_burst_of_definitions_neither_drops_nor_stalls() -> None:
    definition = streams.record(0x13, 520, instrument_id=7, body=bytes(504))
    n = 100_000

    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(peers.live_header())
        for _ in range(n // 1000):
            talk.send(definition * 1000)

    got: list[int] = []
    with Peer(script) as peer:
        live = client(peer, max_buffer=1 << 20)
        live.subscribe("GLBX.MDP3", "definition")
        for records in live.batches():
            got.append(len(records))
    assert sum(got) == n


def test_memory_waits_in_the_kernel_when_the_consumer_does() -> None:
    sent = []

    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(peers.live_header())
        for _ in range(100):
            talk.send(BODY * 1000)
            sent.append(1)

    with Peer(script) as peer:
        live = subscribed(peer)
        batches = live.batches()
        n = len(next(batches))
        time.sleep(0.3)
        assert len(sent) < 100  # the gateway could not send all of 240 MB
        assert live.stats().backlog_bytes < 4 << 20
        n += sum(len(records) for records in batches)
        assert n == 100_000 * len(TRADES)


# --- the rest ---------------------------------------------------------------------------------


def test_options_over_the_wire() -> None:
    body = streams.trades(5, ts_out=True)
    with Peer(serving(body, header=peers.live_header(ts_out=1))) as peer:
        live = client(
            peer, ts_out=True, heartbeat_interval_s=10, slow_reader_behavior="warn",
            dataset="GLBX.MDP3",
        )  # fmt: skip
        live.subscribe(schema="trades")
        records = list(live)
        assert b"".join(bytes(r) for r in records) == body
        assert records[0].ts_out is not None
        line = peer.talks[0].lines[0]
    for part in (b"ts_out=1", b"heartbeat_interval_s=10", b"slow_reader_behavior=warn"):
        assert part in line.split(b"|")
    stats = live.stats()
    assert stats.lag_ts_out_s is not None
    assert stats.counts == {RType.MBP_0: 5}


@pytest.mark.parametrize("version", [1, 2])
def test_older_streams_become_version_3(version: int) -> None:
    old = streams.record(0x17, 80, body=b"Heartbeat".ljust(64, b"\0"))
    body = old + TRADES[0] if version == 1 else TRADES[0]
    for upgrade in (True, False):
        with Peer(serving(body, header=peers.live_header(version))) as peer:
            live = subscribed(peer, upgrade=upgrade)
            batches = list(live.batches())
            assert {b.version for b in batches} == {3 if upgrade else version}
            assert live.metadata is not None
            assert live.metadata.version == (3 if upgrade else version)
            if upgrade and version == 1:
                assert batches[0][0].is_heartbeat()
            elif not upgrade:
                assert body_of(batches) == body


def test_json_session() -> None:
    pytest.importorskip("msgspec")
    line = (
        b'{"hd":{"ts_event":"1769176693139629181","rtype":22,"publisher_id":0,"instrument_id":5},'
        b'"stype_in_symbol":"ES.FUT","stype_out_symbol":"ESZ4","start_ts":"18446744073709551615",'
        b'"end_ts":"18446744073709551615"}\n'
    )

    def script(talk: Talk) -> None:
        assert b"encoding=json" in talk.greet().split(b"|")
        talk.until_start()
        talk.send(line)

    with Peer(script) as peer:
        live = subscribed(peer, encoding="json")
        (record,) = list(live)
        assert record.stype_out_symbol == "ESZ4"
        assert live.symbology_map == {5: "ESZ4"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"key": ""}, ValueError),
        ({"gateway": " "}, ValueError),
        ({"port": 0}, ValueError),
        ({"port": "13000"}, ValueError),
        ({"heartbeat_interval_s": 4}, ValueError),
        ({"heartbeat_interval_s": 1801}, ValueError),
        ({"heartbeat_interval_s": "30"}, TypeError),
        ({"reconnect_policy": "always"}, ValueError),
        ({"slow_reader_behavior": "drop"}, ValueError),
        ({"compression": "gzip"}, ValueError),
        ({"encoding": "csv"}, ValueError),
        ({"encoding": "xml"}, ValueError),
        ({"heartbeat_interval_s": 5.5}, TypeError),
        ({"overlap": -1}, ValueError),
        ({"overlap": math.nan}, ValueError),
        ({"overlap": math.inf}, ValueError),
        ({"overlap": "2"}, TypeError),
        ({"max_buffer": 1.5}, TypeError),
        ({"busy_poll_us": 1.5}, TypeError),
        ({"on_slow": "drop"}, ValueError),
        ({"max_buffer": 0}, ValueError),
        ({"dataset": ""}, ValueError),
        ({"dataset": "A|B"}, ValueError),
        ({"trace": 17}, (TypeError, ValueError)),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], error: Any) -> None:
    with pytest.raises(error) as caught:
        Live(**{"key": KEY, **options})
    if options.get("encoding") == "csv":
        assert "several types" in str(caught.value)
    elif {"overlap", "max_buffer", "busy_poll_us", "heartbeat_interval_s"} & options.keys():
        ((name, value),) = options.items()
        assert f"{name} is {value!r}, expected" in str(caught.value)


def test_the_key_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    trace = io.StringIO()
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer, trace=trace)
        list(live)
        shown = repr(live) + str(vars(live)) + caplog.text + trace.getvalue()
        assert "****opqrs" in repr(live)
        assert KEY not in shown
        assert live.key == KEY


@pytest.mark.parametrize("on_slow", ["block", "drop_oldest"])
def test_what_a_little_inflates_to_is_bounded(on_slow: str) -> None:
    n = 3_000_000  # 144 MB of records in a few kB
    packed = zstd().compress(peers.live_header() + TRADES[0] * n)

    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(packed)

    with Peer(script) as peer:
        live = subscribed(peer, compression="zstd", on_slow=on_slow, max_buffer=1 << 20)
        found, most = 0, 0
        for item in live.events():
            if isinstance(item, Records):
                found += len(item)
            elif isinstance(item, Skipped):
                found += item.n_records
            most = max(most, live.stats().backlog_bytes)
        assert found == n
        assert most < 40 << 20


def test_what_was_given_can_be_asked_for() -> None:
    live = Live(KEY, "127.0.0.1", 13_000, compression="zstd")
    assert (live.gateway, live.port, str(live.compression)) == ("127.0.0.1", 13_000, "zstd")
    assert Live(KEY).gateway is None


def test_what_a_subscription_must_say() -> None:
    live = Live(KEY, "127.0.0.1", 13_000)
    with pytest.raises(TypeError, match="schema is missing"):
        live.subscribe("GLBX.MDP3")
    with pytest.raises(ValueError, match="dataset is missing: give it here or to the constructor"):
        live.subscribe(schema="trades")


@pytest.mark.parametrize("given", [True, "CME_Equity", "made"])
def test_hours_of_the_market_are_made_or_given(given: Any) -> None:
    pytest.importorskip("pandas_market_calendars")
    made = MarketHours("GLBX.MDP3")
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer, hours=made if given == "made" else given)
        silence = live._session._silence  # type: ignore[union-attr]
        assert silence is not None
        hours = silence._hours
        assert isinstance(hours, MarketHours)
        assert (hours is made) == (given == "made")
        assert body_of(live.batches()) == BODY


def test_the_gateways_warning_of_a_slow_reader_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    warning = peers.system("behind by 3 s", int(SystemCode.SLOW_READER_WARNING))
    with Peer(serving(BODY, warning)) as peer, caplog.at_level(logging.WARNING):
        assert body_of(subscribed(peer).batches()) == BODY + warning
    assert "the gateway warns: behind by 3 s" in caplog.text


def test_a_stream_that_takes_a_part_is_given_the_rest() -> None:
    class Small:
        def __init__(self) -> None:
            self.taken = bytearray()

        def write(self, data: Any) -> int:
            self.taken += data[:100]
            return min(len(data), 100)

    out = Small()  # neither flush nor closed
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_stream(out)
        live.start()
        live.block_for_close(10)
    assert dbnfast.scan(bytes(out.taken)).tobytes() == BODY


def test_an_error_of_the_reconnect_callback_is_reported() -> None:
    pytest.importorskip("pandas")
    heard: list[BaseException] = []

    def fails(last: Any, start: Any) -> None:
        raise ZeroDivisionError("in the callback")

    n = iter(range(100))

    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(peers.live_header() + TRADES[next(n)])

    with Peer(script) as peer:
        live = subscribed(peer, reconnect_policy="reconnect")
        live.add_reconnect_callback(fails, heard.append)
        for item in live.events():
            if heard and isinstance(item, Records):
                break
    assert [str(error) for error in heard] == ["in the callback"]


WHEN_PANDAS = """
import sys
if sys.argv[2] == "no": sys.modules["pandas"] = None  # as if it were not there
import dbnfast
live = dbnfast.Live(sys.argv[3], "127.0.0.1", int(sys.argv[1]), reconnect_policy="none")
before = sys.modules.get("pandas")
live.subscribe("GLBX.MDP3", "trades")
print(before is None, sys.modules.get("pandas") is not None, sum(1 for record in live))
try:
    live.add_reconnect_callback(print)
except dbnfast.MissingExtraError as error:
    print(error.extra)
"""


@pytest.mark.parametrize("there", ["yes", "no"])
def test_a_session_imports_pandas_before_its_first_record(there: str) -> None:
    if there == "yes":
        pytest.importorskip("pandas")
    with Peer(serving(BODY)) as peer:
        arguments = [str(peer.port), there, KEY]
        output = subprocess.run(
            [sys.executable, "-c", WHEN_PANDAS, *arguments],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    n = str(len(TRADES))
    assert output.split() == (
        ["True", "True", n] if there == "yes" else ["True", "False", n, "pandas"]
    )
