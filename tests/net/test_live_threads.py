"""The blocking client among threads, signals, and ends of its process."""

from __future__ import annotations

import errno
import io
import linecache
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast import Live, Records
from dbnfast.live import sinks
from dbnfast.live.sync import pump
from helpers import peers, streams
from helpers.peers import BODY, KEY, TRADES, Peer, Talk, flood, paced, serving, subscribed

pytestmark = pytest.mark.usefixtures("quick")


def numbers_of(batches: Any) -> list[int]:
    return [record.sequence for records in batches for record in records]


# --- one thread reads -------------------------------------------------------------------------


def test_who_waits_takes_nothing_from_who_iterates() -> None:
    got: list[int] = []
    with Peer(paced(40, 0.01)) as peer:
        live = subscribed(peer)
        begun = threading.Event()

        def iterate() -> None:
            for records in live.batches():
                got.extend(record.sequence for record in records)
                begun.set()

        thread = threading.Thread(target=iterate)
        thread.start()
        assert begun.wait(peers.TIMEOUT)
        live.block_for_close(peers.TIMEOUT)
        thread.join(peers.TIMEOUT)
    assert got == list(range(40))


def in_a_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(peers.TIMEOUT)
    assert not thread.is_alive()


@pytest.mark.parametrize("end", ["stop", "close"])
@pytest.mark.parametrize("thread", ["lives", "ends"])
def test_an_iterator_of_another_thread_that_rests_is_not_waited_for(thread: str, end: str) -> None:
    taken = threading.Event()
    called: list[int] = []
    got: list[int] = []

    def serve(talk: Talk) -> None:
        serving(BODY)(talk)
        taken.wait(peers.TIMEOUT)
        talk.send(BODY)
        if end == "stop":
            talk.wait_for_end()

    def take() -> None:
        got.extend(next(iterator).sequence for _ in TRADES)

    with Peer(serve) as peer, ThreadPoolExecutor(1) as pool:
        live = subscribed(peer)
        live.add_callback(lambda record: called.append(record.sequence))
        iterator = iter(live)
        if thread == "lives":
            pool.submit(take).result(peers.TIMEOUT)
        else:
            in_a_thread(take)
        assert live._engine is not None
        sock = live._engine._pump._sock
        assert sock is not None
        taken.set()
        assert select.select([sock], [], [], peers.TIMEOUT)[0]
        if end == "stop":
            live.stop()
        live.block_for_close(peers.TIMEOUT)  # else it forgets what came
        assert not live.is_connected()
        got += [record.sequence for record in iterator]
    assert got == called == [*range(len(TRADES))] * 2


def test_who_waits_reads_no_more_than_may_wait_for_an_iterator() -> None:
    with Peer(flood) as peer, ThreadPoolExecutor(1) as pool:
        live = subscribed(peer, max_buffer=1000)
        batches = live.batches()
        n = len(pool.submit(next, batches).result(peers.TIMEOUT))
        waiting = threading.Thread(target=live.block_for_close)
        waiting.start()
        peers.wait_until(lambda: live.stats().backlog_bytes >= 1000)
        live.stop()
        waiting.join(peers.TIMEOUT)
        assert not waiting.is_alive()
        assert live.stats().backlog_bytes < 1000 + pump.READ_BYTES
        assert n + sum(map(len, batches)) == live.stats().records


def test_threads_that_iterate_together_share_the_records() -> None:
    got: list[list[int]] = [[], [], []]
    with Peer(paced(300, 0.001)) as peer:
        live = subscribed(peer)
        iterators = [live.batches() for _ in got]
        threads = [
            threading.Thread(target=lambda i=i: got[i].extend(numbers_of(iterators[i])))
            for i in range(len(got))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(peers.TIMEOUT)
    assert sorted(number for part in got for number in part) == list(range(300))
    assert all(part == sorted(part) for part in got)


def test_callbacks_added_while_another_thread_waits_get_records_in_order() -> None:
    got: list[int] = []
    added = threading.Event()

    def script(talk: Talk) -> None:
        paced(150, 0.002)(talk)
        added.wait(peers.TIMEOUT)
        for i in range(150, 200):
            talk.send(streams.trade(i))
            time.sleep(0.002)

    with Peer(script) as peer:
        live = subscribed(peer)
        live.start()
        waiting = threading.Thread(target=live.block_for_close)
        waiting.start()
        time.sleep(0.05)
        live.add_callback(lambda record: got.append(record.sequence))
        added.set()
        waiting.join(peers.TIMEOUT)
        assert not waiting.is_alive()
    assert got == list(range(got[0], 200))


def test_time_of_zero_still_reads() -> None:
    with Peer(serving(BODY)) as peer:
        end = time.monotonic() + peers.TIMEOUT
        got: list[int] = []
        for records in subscribed(peer).batches(max_wait=0):
            got += [record.sequence for record in records]
            assert time.monotonic() < end
    assert got == list(range(50))


# --- the end from elsewhere -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stop", "terminate"])
def test_the_end_between_a_look_and_a_wait(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # another thread ends the session when this one is about to wait for its socket: that must not
    # be closed under it, for its number may be another file's by then
    seen = []
    poll = pump._poll
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        batches = live.batches()
        assert len(next(batches))

        def stop_before(wake: Any, sock: Any, *rest: Any) -> Any:
            thread = threading.Thread(target=getattr(live, how))
            thread.start()
            thread.join(peers.TIMEOUT)
            seen.append((wake.fileno(), sock.fileno()))
            return poll(wake, sock, *rest)

        monkeypatch.setattr(pump, "BLOCKS", False)
        monkeypatch.setattr(pump, "_poll", stop_before)
        assert sum(map(len, batches)) <= 50
        assert peer.talks[0].was_ended()
    assert seen
    assert all(number >= 0 for pair in seen for number in pair)


@pytest.mark.parametrize("how", ["stop", "terminate"])
def test_the_end_at_any_moment(how: str) -> None:
    with Peer(flood) as peer:
        for i in range(30):
            live = subscribed(peer)
            failures: list[BaseException] = []

            def iterate(live: Live = live, failures: list[BaseException] = failures) -> None:
                try:
                    for _ in live.batches():
                        pass
                except BaseException as error:
                    failures.append(error)

            batches = threading.Thread(target=iterate)
            batches.start()
            time.sleep(0.001 * (i % 7))
            getattr(live, how)()
            batches.join(peers.TIMEOUT)
            assert not batches.is_alive()
            # stopped before it began, there is nothing to iterate over
            assert all("has not ended" in str(failure) for failure in failures), failures


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers of signals")
def test_stop_in_a_signal_handler() -> None:
    with Peer(flood) as peer:
        for i in range(20):
            live = subscribed(peer)
            batches = live.batches()  # stopped before it began, there is nothing to iterate over
            before = signal.signal(signal.SIGALRM, lambda *_, live=live: live.stop())
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.0007 * i)
                assert sum(map(len, batches)) >= 0
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
            assert not live.is_connected()


FILES = ("client", "engine", "pump", "iteration", "session", "base")
# a trace may raise where no signal is looked at: as a lock is about to be released, and in what
# then cleans up
SPARED = ("step", "__exit__", "terminate", "close")


def interrupted(live: Live, at: int) -> bool:
    """Use a session, and raise at one of the lines that this takes; whether there was that line."""
    lines = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        code = frame.f_code
        path = Path(code.co_filename)
        if "live" not in path.parts[-3:] or path.stem not in FILES or code.co_name in SPARED:
            return None
        if event == "line" and "with " not in linecache.getline(code.co_filename, frame.f_lineno):
            lines += 1
            if lines == at:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        live.subscribe("GLBX.MDP3", "trades")
        events = live.events()
        next(events)
        sys.settrace(before)
        del events
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # between socket() and its assignment
def test_an_interrupt_at_any_line_leaves_no_session() -> None:
    def script(talk: Talk) -> None:
        with suppress(AssertionError):
            serving(BODY, stay=True)(talk)

    with Peer(script) as peer:
        at = 1
        while True:
            live = Live(KEY, "127.0.0.1", peer.port, reconnect_policy="none")
            found = interrupted(live, at)
            live.__exit__()
            assert not live.is_connected(), at
            if not found:
                break
            at += 7
        assert at > 100


def test_an_interrupted_subscription_leaves_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(talk: Talk) -> None:
        talk.wait_for_end()

    poll, calls = pump._poll, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return poll(*arguments[:3], min(arguments[3], 0.1))

    with Peer(silent, serving(BODY)) as peer:
        live = Live(KEY, "127.0.0.1", peer.port, reconnect_policy="none")
        monkeypatch.setattr(pump, "BLOCKS", False)
        monkeypatch.setattr(pump, "_poll", interrupted)
        with pytest.raises(KeyboardInterrupt):
            live.subscribe("GLBX.MDP3", "trades")
        assert not live.is_connected()
        peers.wait_until(lambda: peer.talks)  # nothing came from it that would have told
        assert peer.talks[0].was_ended()
        got: list[Any] = []
        live.add_callback(got.append)
        assert live.subscribe("GLBX.MDP3", "trades") == 0
        live.start()
        live.block_for_close(peers.TIMEOUT)
    assert len(got) == 50


# --- no more files ----------------------------------------------------------------------------


def test_a_subscription_without_a_file_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    with Peer(serving(BODY)) as peer:
        live = Live(KEY, "127.0.0.1", peer.port, reconnect_policy="none")
        with monkeypatch.context() as patch:
            patch.setattr(pump.socket, "socketpair", fail)
            with pytest.raises(OSError, match="Too many"):
                live.subscribe("GLBX.MDP3", "trades")
        assert not live.is_connected()
        live.subscribe("GLBX.MDP3", "trades")
        assert len(list(live)) == 50


def test_a_new_connection_without_a_file_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = []

    class Scarce(socket.socket):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            if len(failures) < 2 and threading.current_thread() is threading.main_thread():
                failures.append(arguments)
                raise OSError(errno.EMFILE, "Too many open files")
            super().__init__(*arguments, **named)

    with Peer(serving(*TRADES[:20]), serving(*TRADES, stay=True)) as peer:
        live = subscribed(peer, reconnect_policy="reconnect")
        with monkeypatch.context() as patch:
            patch.setattr(pump.socket, "socket", Scarce)
            got: set[int] = set()
            for records in live.batches():
                got.update(numbers_of([records]))
                if len(got) == 50:
                    break
    assert len(failures) == 2


# --- callbacks --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_callbacks", [1, 2])
@pytest.mark.parametrize(("how", "n_expected"), [("terminate", 3), ("stop", 50)])
def test_the_end_inside_a_callback(how: str, n_expected: int, n_callbacks: int) -> None:
    got: list[Any] = []

    def end_at_third(record: Any) -> None:
        got.append(record)
        if len(got) == 3:
            getattr(live, how)()

    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        live.add_callback(end_at_third)
        for _ in range(n_callbacks - 1):
            live.add_callback(lambda record: None)
        live.start()
        live.block_for_close(peers.TIMEOUT)
        assert peer.talks[0].was_ended()
    assert len(got) == n_expected


def test_terminate_forgets_what_an_iterator_has_not_given() -> None:
    with Peer(serving(peers.system(), BODY, stay=True)) as peer:
        live = subscribed(peer)
        events = live.events()
        assert isinstance(next(events), Records)
        live.terminate()
        assert list(events) == []


def test_callbacks_of_the_next_session_outlive_the_one_before() -> None:
    gate, first, second = threading.Event(), [], []

    def slow(record: Any) -> None:
        first.append(record)
        gate.wait(peers.TIMEOUT)

    with Peer(serving(BODY, stay=True), serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_callback(slow)
        live.start()
        while not first:
            time.sleep(0.005)
        live.stop()
        live.add_callback(second.append)  # while the first session hands on what it received
        live.subscribe("GLBX.MDP3", "trades")
        gate.set()
        assert peer.talks[0].was_ended()
        live.start()
        live.block_for_close(peers.TIMEOUT)
    until = time.monotonic() + peers.TIMEOUT
    while len(first) < 50 and time.monotonic() < until:
        time.sleep(0.005)  # the first session's thread goes on by itself
    assert len(first) == len(second) == 50


def test_the_lock_is_not_held_while_streams_end() -> None:
    users, inside = threading.Lock(), threading.Event()
    got: list[bool] = []

    class Full(io.BytesIO):
        def flush(self) -> None:
            raise OSError("no space")

    def failed(error: Exception) -> None:
        inside.set()
        got.append(users.acquire(timeout=peers.TIMEOUT))
        users.release()

    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_stream(Full(), failed)
        with users:
            live.start()
            assert inside.wait(peers.TIMEOUT)
            stopping = threading.Thread(target=live.stop)
            stopping.start()
            stopping.join(peers.TIMEOUT)
            assert not stopping.is_alive()
        live.block_for_close(peers.TIMEOUT)
    assert got == [True]


def test_an_exception_that_cannot_be_shown() -> None:
    class Shy(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no")

        __str__ = __repr__

    got: list[Any] = []

    def fail(record: Any) -> None:
        got.append(record)
        raise Shy

    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        live.add_callback(fail, lambda error: None)
        live.start()
        live.block_for_close(peers.TIMEOUT)
    assert len(got) == 50


def test_a_handler_of_the_log_that_raises_ends_nothing() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no disk")

    logger, handler = logging.getLogger("dbnfast.live"), Broken()
    logger.addHandler(handler)
    try:
        with Peer(serving(*TRADES[:20]), serving(*TRADES, stay=True)) as peer:
            live = subscribed(peer, reconnect_policy="reconnect")
            got: list[int] = []
            for records in live.batches():
                got += numbers_of([records])
                if len(got) >= 50:
                    break
    finally:
        logger.removeHandler(handler)
    assert set(got) == set(range(50))


# --- the process ------------------------------------------------------------------------------

SCRIPT = """
import os, sys, threading, time
from dbnfast import Live

live = Live(sys.argv[2], "127.0.0.1", int(sys.argv[1]), **eval(sys.argv[3]))
live.subscribe("GLBX.MDP3", "trades")
seen = threading.Event()
"""
WITH_CALLBACK = """
live.add_callback(lambda record: seen.set())
live.start()
seen.wait(20)
"""
AHEAD = """
live.start()
while not live.stats().records:
    time.sleep(0.01)
"""
STREAM = """
live.add_stream("out.dbn")
live.start()
while os.path.getsize("out.dbn") < 5000:  # records are counted before they are written
    time.sleep(0.01)
"""
# Python 3.12 and later warn of any fork beside threads: here it is what is asked for
FORK = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if not child:
    assert not live.is_connected()
    live.stop()
    try:
        live.block_for_close()
    except Exception as error:
        print(type(error).__name__, flush=True)
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
seen.clear()
assert seen.wait(20)
assert live.is_connected()
print("goes on")
"""


def run_script(text: str, peer: Peer, folder: Path, **options: Any) -> str:
    """Run a script to its end; it may neither hang nor complain."""
    src = str(Path(dbnfast.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + text, str(peer.port), KEY, repr(options)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": src},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (WITH_CALLBACK, {}),
        (AHEAD, {"on_slow": "drop_oldest", "max_buffer": 1 << 16}),
        (STREAM, {}),
        (WITH_CALLBACK.replace("seen.set()", "(seen.set(), time.sleep(100))"), {}),
    ],
    ids=["callback", "ahead", "stream", "stuck"],
)
def test_the_interpreter_ends_while_a_session_runs(
    text: str, options: dict[str, Any], tmp_path: Path
) -> None:
    with Peer(flood) as peer:
        run_script(text, peer, tmp_path, **options)
        if text == STREAM:
            found = dbnfast.read(tmp_path / "out.dbn").records()
            assert bytes(found[:50]) == BODY


def test_the_interpreter_ends_while_a_thread_holds_the_lock(tmp_path: Path) -> None:
    # what traces a session runs with the lock held, and is asleep most of the time
    text = "live._session.trace = trace_of(lambda text: time.sleep(0.02))\n" + AHEAD
    text = "from dbnfast.live.trace import trace_of\n" + text.replace(
        "trace = ", "trace = live._session._link.protocol._trace = "
    )
    with Peer(paced(100_000, 0.0001)) as peer:
        run_script(text, peer, tmp_path, on_slow="latest")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork")
def test_a_forked_process_has_no_part_in_the_session(tmp_path: Path) -> None:
    with Peer(flood) as peer:
        out = run_script(WITH_CALLBACK + FORK, peer, tmp_path)
    assert out.split() == ["SessionClosed", "goes", "on"]


# a thread of the session that ends by an error of its own


class Broken(Exception):
    """No error that a session knows."""


@pytest.mark.parametrize("how", ["callback", "batches"])
def test_an_error_of_the_reading_thread_is_raised_to_the_user(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = pump.Pump.step

    def step(self: Any, timeout: float | None) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise Broken("no such thing")
        plain(self, timeout)

    monkeypatch.setattr(pump.Pump, "step", step)
    with Peer(paced(5, 0.01)) as peer, caplog.at_level(logging.ERROR):
        live = subscribed(peer)
        if how == "callback":
            live.add_callback(lambda record: None)
        live.start()
        if how == "batches":
            live._engine.read_ahead()  # as `async for` does; this ends the session at once
        with pytest.raises(Broken, match="no such thing"):
            live.block_for_close(10)
        with pytest.raises(Broken, match="no such thing"):
            live.block_for_close(10)
        assert not live.is_connected()
    assert "the session's thread ended: Broken('no such thing')" in caplog.text


def test_an_error_of_the_handing_thread_is_raised_to_the_user(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def dispatch(self: Any, item: Any, metadata: Any) -> None:
        raise Broken("no sink")

    monkeypatch.setattr(sinks.Sinks, "dispatch", dispatch)
    with Peer(paced(5, 0.01)) as peer, caplog.at_level(logging.ERROR):
        live = subscribed(peer)
        live.add_callback(lambda record: None)
        live.start()
        with pytest.raises(Broken, match="no sink"):
            live.block_for_close(10)
    assert "the session's thread ended: Broken('no sink')" in caplog.text


def test_what_is_called_at_the_end_is_called_at_once_behind_it() -> None:
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer)
        called: list[str] = []
        live._engine.call_when_closed(lambda: called.append("first"))
        assert b"".join(bytes(records) for records in live.batches()) == BODY
        assert called == ["first"]
        live._engine.call_when_closed(lambda: called.append("second"))
        assert called == ["first", "second"]


def test_without_poll_the_session_selects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pump.select, "poll")
    monkeypatch.setattr(pump, "BLOCKS", False)
    with Peer(paced(5, 0.01)) as peer:
        live = subscribed(peer)
        found = b"".join(bytes(records) for records in live.batches())
    assert found == b"".join(TRADES[:5])


def test_what_came_before_the_end_can_still_be_taken() -> None:
    with Peer(serving(BODY)) as peer:
        live = subscribed(peer, on_slow="drop_oldest")  # a thread reads ahead
        live.start()
        end = time.monotonic() + peers.TIMEOUT
        while live.is_connected():
            assert time.monotonic() < end
            time.sleep(0.01)
        assert numbers_of(live.batches()) == list(range(len(TRADES)))
        with pytest.raises(ValueError, match="iteration needs a session"):
            live.batches()


# --- callbacks that block, or call back -------------------------------------------------------


def test_a_callback_that_blocks_holds_up_nobody_else() -> None:
    """Users' code runs without a lock of the session: all that others ask for is done at once."""
    blocked, go_on = threading.Event(), threading.Event()

    def block(record: Any) -> None:
        blocked.set()
        go_on.wait(peers.TIMEOUT)

    def others() -> None:
        assert live.subscribe("GLBX.MDP3", "mbo", "ES.FUT", "parent") == 1
        live.add_callback(print)
        assert live.stats().records > 0
        assert (live.gaps, live.is_connected()) == ([], True)
        live.stop()
        live.block_for_close(0.01)  # which terminates it
        done.set()

    done = threading.Event()
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        live.add_callback(block)
        live.start()
        assert blocked.wait(peers.TIMEOUT)
        other = threading.Thread(target=others)
        other.start()
        try:
            assert done.wait(peers.TIMEOUT / 2)
        finally:
            go_on.set()
            other.join()
    assert not live.is_connected()


@pytest.mark.parametrize("kind", ["record", "reconnect", "stream"])
def test_callbacks_of_any_kind_may_call_back(kind: str) -> None:
    seen: list[int] = []

    def call_back(*args: Any) -> int | None:
        if not seen:
            seen.append(live.subscribe("GLBX.MDP3", "mbo", "ES.FUT", "parent"))
            assert live.stats().records > 0
            live.stop()
        return len(args[0]) if kind == "stream" else None

    class Stream:
        write = staticmethod(call_back)

    with Peer(serving(BODY), serving(BODY, stay=True)) as peer:
        live = subscribed(peer, reconnect_policy="reconnect")
        if kind == "record":
            live.add_callback(call_back)
        elif kind == "reconnect":
            live.add_reconnect_callback(call_back)
        else:
            live.add_stream(Stream())  # type: ignore[arg-type]
        live.start()
        live.block_for_close(peers.TIMEOUT)
        assert seen == [1]


def test_who_waits_waits_no_longer_than_asked_for() -> None:
    with Peer(serving(BODY, stay=True)) as peer:
        live = subscribed(peer)
        live.start()
        first = threading.Thread(target=live.block_for_close)
        first.start()
        time.sleep(0.05)
        second = threading.Thread(target=live.block_for_close, args=(0.05,))
        second.start()  # which ends the session for both
        second.join(peers.TIMEOUT / 2)
        hangs = second.is_alive()
        live.terminate()
        first.join()
        second.join()
        assert not hangs
