"""The asynchronous client over loopback, and `async for` on the blocking one."""

from __future__ import annotations

import asyncio
import gc
import select
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import aclosing, nullcontext
from importlib import import_module
from typing import Any

import pytest

import dbnfast
from dbnfast import (
    AsyncLive,
    AuthenticationError,
    ConnectError,
    GatewayError,
    HeartbeatTimeout,
    Live,
    Reconnected,
    Records,
    SessionClosed,
    Skipped,
)
from dbnfast.codec.compression import zstd
from dbnfast.live.asyncio import driver as loop
from dbnfast.live.session import link, session
from helpers import peers
from helpers.peers import BODY, KEY, TRADES, Peer, Talk, paced, serving

pytestmark = pytest.mark.usefixtures("quick")
Runner = Callable[[Coroutine[Any, Any, Any]], Any]


def plain(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def on_uvloop(work: Coroutine[Any, Any, Any]) -> Any:
    uvloop = import_module("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@pytest.fixture(params=[plain, on_uvloop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Runs a coroutine; nothing of it may be left running."""

    if request.param is on_uvloop:
        pytest.importorskip("uvloop")  # before there is a coroutine that nobody awaits

    async def checked(work: Coroutine[Any, Any, Any]) -> Any:
        result = await asyncio.wait_for(work, peers.TIMEOUT)
        for _ in range(100):
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if not left:
                break
            await asyncio.sleep(0.01)
        assert not left
        return result

    runner: Runner = request.param
    return lambda work: runner(checked(work))


def client(peer: Peer, **options: Any) -> AsyncLive:
    options.setdefault("reconnect_policy", "none")
    return AsyncLive(KEY, "127.0.0.1", peer.port, **options)


async def subscribed(peer: Peer, **options: Any) -> AsyncLive:
    live = client(peer, **options)
    assert await live.subscribe("GLBX.MDP3", "trades", "ES.FUT", "parent") == 0
    return live


def test_iteration(run: Runner) -> None:
    async def work() -> list[Any]:
        async with client(peer) as live:
            await live.subscribe("GLBX.MDP3", "trades")
            assert live.is_connected()
            assert not any(t.name.startswith("dbnfast") for t in threading.enumerate())
            records = [record async for record in live]
            assert live.metadata is not None
            return records

    with Peer(serving(BODY)) as peer:
        records = run(work())
    assert b"".join(bytes(record) for record in records) == BODY


def test_batches_with_max_wait_and_an_early_end(run: Runner) -> None:
    async def work() -> list[int]:
        live = await subscribed(peer)
        seen = []
        batches = live.batches(max_wait=0.02)
        async for records in batches:
            seen.append(len(records))
            if not seen[-1] and sum(seen) == len(TRADES):
                break
        await batches.aclose()
        assert not live.is_connected()
        return seen

    with Peer(serving(BODY, stay=True)) as peer:
        assert sum(run(work())) == len(TRADES)
        assert peer.talks[0].was_ended()


def test_callbacks_and_wait_for_close(run: Runner) -> None:
    got: list[Any] = []

    async def work() -> None:
        live = await subscribed(peer)
        live.add_callback(got.append)
        await live.start()
        with pytest.raises(ValueError, match="started already"):
            await live.start()
        await live.wait_for_close(peers.TIMEOUT)
        assert not live.is_connected()

    with Peer(serving(BODY)) as peer:
        run(work())
    assert b"".join(bytes(record) for record in got) == BODY


def test_wait_for_close_terminates_when_time_is_up(run: Runner) -> None:
    async def work() -> None:
        live = await subscribed(peer)
        await live.start()
        while live.stats().records < len(TRADES):
            await asyncio.sleep(0.01)
        await live.wait_for_close(0.1)
        assert not live.is_connected()
        assert live.stats().records == len(TRADES)

    with Peer(serving(BODY, stay=True)) as peer:
        run(work())
        assert peer.talks[0].was_ended()


def test_stop(run: Runner) -> None:
    async def work() -> int:
        live = await subscribed(peer)
        n = 0
        async for records in live.batches():
            n += len(records)
            if n == len(TRADES):
                await live.stop()
        return n

    with Peer(serving(BODY, stay=True)) as peer:
        assert run(work()) == len(TRADES)
        assert peer.talks[0].was_ended()


@pytest.mark.parametrize("where", ["iteration", "wait_for_close", "subscribe"])
def test_cancellation(run: Runner, where: str) -> None:
    async def use(live: AsyncLive) -> None:
        await live.subscribe("GLBX.MDP3", "trades")
        if where == "iteration":
            async for _ in live:
                pass
        await live.wait_for_close()

    async def work() -> None:
        live = client(peer)
        task = asyncio.create_task(use(live))
        while not (peer.talks if where == "subscribe" else live.session_id):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gc.collect()
        await asyncio.sleep(0.01)
        assert not live.is_connected()

    def silent(talk: Talk) -> None:
        talk.wait_for_end()

    script = silent if where == "subscribe" else serving(BODY, stay=True)
    with Peer(script) as peer:
        run(work())
        assert peer.talks[0].was_ended()


def test_errors(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drain(peer: Peer) -> None:
        async for _ in await subscribed(peer):
            pass

    with (
        Peer(lambda talk: talk.greet(reply=b"success=0|error=no\n")) as peer,
        pytest.raises(AuthenticationError),
    ):
        run(drain(peer))
    with Peer() as peer:
        pass
    with pytest.raises(ConnectError):
        run(drain(peer))
    with (
        Peer(serving(BODY, peers.error("no more", 6))) as peer,
        pytest.raises(GatewayError, match="no more"),
    ):
        run(drain(peer))

    def rude(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.reset()

    with Peer(rude) as peer, pytest.raises(SessionClosed, match="broke"):
        run(drain(peer))
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(link, "MARGIN", 0.1)
    with Peer(serving(stay=True)) as peer, pytest.raises(HeartbeatTimeout):
        run(drain(peer))
    monkeypatch.setattr(link, "AUTH_TIMEOUT", 0.2)
    with (
        Peer(lambda talk: talk.wait_for_end()) as peer,
        pytest.raises(ConnectError, match="greeting"),
    ):
        run(drain(peer))


def test_the_session_goes_on(run: Runner) -> None:
    first, second = BODY[:480], BODY[480:960]

    async def work() -> list[Any]:
        live = await subscribed(peer, reconnect_policy="reconnect")
        items = []
        events = live.events()
        async for item in events:
            items.append(item)
            if isinstance(item, Records) and second in bytes(item):
                break
        await events.aclose()
        return items

    def refuse(talk: Talk) -> None:
        return

    with Peer(serving(first), refuse, refuse, serving(second, stay=True)) as peer:
        items = run(work())
        assert sum(isinstance(item, Reconnected) for item in items) == 1
        got = b"".join(bytes(item) for item in items if isinstance(item, Records))
        assert got == first + second
        assert len(peer.talks) == 4


def test_reading_pauses_while_nobody_takes(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT_S", 1.0)  # longer than a busy machine holds up a peer
    monkeypatch.setattr(link, "MARGIN", 0.5)

    async def work() -> int:
        live = await subscribed(peer, max_buffer=1 << 20)
        batches = live.batches()
        n = len(await anext(batches))
        await asyncio.sleep(2.0)  # longer than silence may last: nothing is read meanwhile
        assert live.stats().backlog_bytes < 2 << 20
        async for records in batches:
            n += len(records)
        return n

    with Peer(serving(BODY * 10_000)) as peer:
        assert run(work()) == 10_000 * len(TRADES)


@pytest.mark.parametrize("on_slow", ["drop_oldest", "latest"])
def test_slow_consumers(run: Runner, on_slow: str) -> None:
    n_sent = 5_000 * len(TRADES)

    async def work() -> tuple[int, int]:
        live = await subscribed(peer, max_buffer=1 << 20, on_slow=on_slow)
        n, skipped, first = 0, 0, True
        async for item in live.events():
            if isinstance(item, Records):
                n += len(item)
            elif isinstance(item, Skipped):
                skipped += item.n_records
            while first and live.stats().records < n_sent:
                await asyncio.sleep(0.01)
            first = False
        return n, skipped

    with Peer(serving(BODY * 5_000)) as peer:
        n, skipped = run(work())
    assert skipped > 0
    assert n + skipped == n_sent


def test_a_subscription_inside_a_callback(run: Runner) -> None:
    asked: list[bytes] = []

    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(peers.live_header() + TRADES[0])
        asked.append(talk.line())

    async def work() -> None:
        live = await subscribed(peer)
        tasks = []
        live.add_callback(
            lambda r: tasks.append(asyncio.create_task(live.subscribe("GLBX.MDP3", "mbo", "A")))
        )
        await live.start()
        await live.wait_for_close(peers.TIMEOUT)
        assert await tasks[0] == 1

    with Peer(script) as peer:
        run(work())
    assert asked[0].startswith(b"schema=mbo|")


def test_use_before_a_session(run: Runner) -> None:
    async def work() -> None:
        live = AsyncLive(KEY)
        with pytest.raises(ValueError, match="subscribe"):
            await live.start()
        await live.stop()
        await live.wait_for_close()
        live.terminate()
        with pytest.raises(ValueError, match="subscribe"):
            await anext(live.batches())

    run(work())


# --- iterators and ends -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Live, AsyncLive])
@pytest.mark.parametrize("stay", [False, True])
def test_what_an_iterator_of_the_task_has_not_given_outlives_the_end(
    run: Runner, kind: Any, stay: bool
) -> None:
    async def work() -> int:
        live = kind(KEY, "127.0.0.1", peer.port, reconnect_policy="none")
        subscribing = live.subscribe("GLBX.MDP3", "trades")
        if kind is AsyncLive:
            await subscribing
        iterator = aiter(live)
        await anext(iterator)
        await live.wait_for_close(0.5 if stay else peers.TIMEOUT)
        assert not live.is_connected()
        return 1 + len([record async for record in iterator])

    with Peer(serving(BODY, stay=stay)) as peer:
        assert run(work()) == len(TRADES)


def twice(goes_on: threading.Event, *, stay: bool) -> Callable[[Talk], None]:
    """A script that sends the trades again once it is told to, and closes or stays."""

    def script(talk: Talk) -> None:
        serving(BODY)(talk)
        goes_on.wait(peers.TIMEOUT)
        talk.send(BODY)
        if stay:
            talk.wait_for_end()

    return script


@pytest.mark.parametrize("kind", [Live, AsyncLive])
@pytest.mark.parametrize("stay", [False, True])
def test_an_iterator_of_another_task_that_rests_is_not_waited_for(
    run: Runner, kind: Any, stay: bool
) -> None:
    async def work() -> list[int]:
        live = kind(KEY, "127.0.0.1", peer.port, reconnect_policy="none")
        subscribing = live.subscribe("GLBX.MDP3", "trades")
        if kind is AsyncLive:
            await subscribing
        iterator = aiter(live)

        async def begin() -> list[int]:
            return [(await anext(iterator)).sequence for _ in TRADES]

        got = await asyncio.create_task(begin())
        goes_on.set()
        while live.stats().records < 2 * len(TRADES):
            await asyncio.sleep(0.01)
        if stay:
            stopping = live.stop()
            if kind is AsyncLive:
                await stopping
        await live.wait_for_close(peers.TIMEOUT / 2)  # else it forgets what came
        assert not live.is_connected()
        return got + [record.sequence async for record in iterator]

    goes_on = threading.Event()
    with Peer(twice(goes_on, stay=stay)) as peer:
        assert run(work()) == [*range(len(TRADES))] * 2


@pytest.mark.parametrize(
    ("thread", "end"),
    [
        ("this", "close"),
        ("this", "stop"),
        ("this", "time"),
        ("another", "close"),
        ("another", "stop"),
    ],
)
def test_an_iterator_of_a_thread_that_rests_is_not_waited_for(
    run: Runner, thread: str, end: str
) -> None:
    async def work() -> list[int]:
        live = Live(KEY, "127.0.0.1", peer.port, reconnect_policy="none")
        live.subscribe("GLBX.MDP3", "trades")
        iterator = iter(live)
        got = [
            (next(iterator) if thread == "this" else await asyncio.to_thread(next, iterator))
            for _ in TRADES
        ]
        assert live._engine is not None
        sock = live._engine._pump._sock
        goes_on.set()
        assert (await asyncio.to_thread(select.select, [sock], [], [], peers.TIMEOUT))[0]
        if end == "stop":
            live.stop()
        await live.wait_for_close(0.1 if end == "time" else peers.TIMEOUT / 2)
        assert not live.is_connected()
        return [record.sequence for record in [*got, *iterator]]

    goes_on = threading.Event()
    with Peer(twice(goes_on, stay=end != "close")) as peer:
        assert run(work()) == [*range(len(TRADES))] * 2


def test_a_first_subscription_that_failed_is_not_raised_again(run: Runner) -> None:
    async def work() -> None:
        live = AsyncLive(KEY, "127.0.0.1", 1)
        try:
            with pytest.raises(ConnectError):
                await live.subscribe("GLBX.MDP3", "trades")
        finally:
            await live.stop()
            await live.wait_for_close(peers.TIMEOUT)

    run(work())


# --- the blocking client on a loop ------------------------------------------------------------


def test_async_for_on_the_blocking_client(run: Runner) -> None:
    async def work() -> list[Any]:
        live = Live(KEY, "127.0.0.1", peer.port, reconnect_policy="none")
        live.subscribe("GLBX.MDP3", "trades")
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1
                if ticks > 2:
                    ticked.set()

        ticking = asyncio.create_task(tick())
        records = [record async for record in live]
        ticking.cancel()
        assert ticks > 2  # the loop was not blocked while nothing came
        return records

    ticked = threading.Event()

    def slow(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(peers.live_header() + BODY[:480])
        ticked.wait(peers.TIMEOUT / 2)
        talk.send(BODY[480:])

    with Peer(slow) as peer:
        assert b"".join(bytes(r) for r in run(work())) == BODY


def test_a_flood_leaves_the_loop_its_turns(run: Runner) -> None:
    """Where the consumer is slower than the thread that reads, there always is a next record."""

    async def work() -> None:
        live = Live(KEY, "127.0.0.1", peer.port, reconnect_policy="none", max_buffer=1 << 20)
        live.subscribe("GLBX.MDP3", "trades", "ES.FUT", "parent")
        turned = asyncio.Event()
        n = 0
        async for _ in live:
            n += 1
            if n == 1:
                asyncio.get_running_loop().call_soon(turned.set)
            while live.stats().backlog_records < 5000 and not turned.is_set():
                time.sleep(0.001)  # the thread is always ahead
            if turned.is_set():
                break
            assert n < 100_000
        assert turned.is_set()

    with Peer(peers.flood) as peer:
        run(work())


@pytest.mark.parametrize("waits", [True, False])
def test_callbacks_added_once_it_runs_get_what_waits(run: Runner, waits: bool) -> None:
    """Also where so much waits that the reading has paused."""
    got: list[Any] = []
    other: list[Any] = []

    async def work() -> None:
        live = await subscribed(peer, max_buffer=1000)
        await live.start()
        while waits and live.stats().backlog_bytes < 1000:
            await asyncio.sleep(0.01)
        live.add_callback(got.append)
        live.add_callback(other.append)
        assert got == other == []
        while len(other) < 4000 * len(TRADES):
            await asyncio.sleep(0.01)
        await live.wait_for_close()

    with Peer(serving(BODY * 4000)) as peer:
        run(work())
    assert len(got) == len(other) == 4000 * len(TRADES)


def test_who_waits_for_the_end_has_what_waits_dropped(run: Runner) -> None:
    async def work() -> None:
        live = await subscribed(peer, max_buffer=1000)
        await live.start()
        while live.stats().backlog_bytes < 1000:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(live.wait_for_close(), peers.TIMEOUT / 2)
        assert live.stats().records == 4000 * len(TRADES)

    with Peer(serving(BODY * 4000)) as peer:
        run(work())


@pytest.mark.parametrize("end", ["closes", "breaks", "stop"])
def test_what_came_before_the_end_can_still_be_taken(run: Runner, end: str) -> None:
    async def work() -> None:
        live = await subscribed(peer)
        await live.start()
        while live.is_connected():
            await asyncio.sleep(0.01)
            if live.stats().records == len(TRADES):
                came.set()
                if end == "stop":
                    await live.stop()
        found = []
        with pytest.raises(SessionClosed) if end == "breaks" else nullcontext():
            async for record in live:
                found.append(record)
        assert len(found) == len(TRADES)
        with pytest.raises((ValueError, SessionClosed)):  # once
            assert [record async for record in live] == []

    came = threading.Event()

    def breaks(talk: Talk) -> None:
        serving(BODY)(talk)
        came.wait(peers.TIMEOUT / 2)  # a reset drops what was not read
        talk.reset()

    with Peer(breaks if end == "breaks" else serving(BODY, stay=end == "stop")) as peer:
        run(work())


def test_what_has_waited_leaves_the_loop_its_turns(run: Runner) -> None:
    async def work() -> None:
        live = await subscribed(peer)
        assert live._driver is not None
        for _ in range(5):
            live._driver.session.backlog.put(dbnfast.scan(peers.live_header() + BODY))
        turns, seen = 0, []

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(turn())
        async with aclosing(live.batches()) as batches:
            async for _ in batches:
                seen.append(turns)
                if len(seen) == 5:
                    break
        task.cancel()
        assert len(set(seen)) == 5

    with Peer(serving(BODY, stay=True)) as peer:
        run(work())


def test_leaving_async_for_ends_the_session(run: Runner) -> None:
    async def work() -> None:
        live = Live(KEY, "127.0.0.1", peer.port)
        live.subscribe("GLBX.MDP3", "trades")
        records = aiter(live)
        assert (await anext(records)).sequence == 0
        await records.aclose()  # type: ignore[attr-defined]
        assert not live.is_connected()

    with Peer(serving(BODY, stay=True)) as peer:
        run(work())
        assert peer.talks[0].was_ended()


def test_wait_for_close_on_the_blocking_client(run: Runner) -> None:
    got: list[Any] = []

    async def work() -> None:
        live = Live(KEY, "127.0.0.1", peer.port, reconnect_policy="none")
        live.subscribe("GLBX.MDP3", "trades")
        live.add_callback(got.append)
        live.start()
        await live.wait_for_close(peers.TIMEOUT)
        assert len(got) == len(TRADES)
        live.subscribe("GLBX.MDP3", "trades")
        live.start()
        await live.wait_for_close(0.1)
        live.subscribe("GLBX.MDP3", "trades")
        live.start()
        task = asyncio.create_task(live.wait_for_close())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not live.is_connected()

    with Peer(serving(BODY), serving(BODY, stay=True)) as peer:
        run(work())


# --- tasks, loops and time --------------------------------------------------------------------


@pytest.mark.parametrize("max_wait", [0, 1.5])
def test_max_wait_is_not_begun_anew_by_what_is_no_record(run: Runner, max_wait: float) -> None:
    # a session looks at the time each second, which is no news for who waits
    async def work() -> None:
        async with client(peer) as live:
            await live.subscribe("GLBX.MDP3", "trades")
            n = 0
            async for records in live.batches(max_wait=max_wait):
                n += len(records)
                if n == 50 and not len(records):
                    break

    with Peer(serving(BODY, stay=True)) as peer:
        run(asyncio.wait_for(work(), peers.TIMEOUT / 2))


@pytest.mark.parametrize("kind", [AsyncLive, Live])
def test_who_waits_takes_nothing_from_who_iterates(run: Runner, kind: Any) -> None:
    async def work() -> list[int]:
        live = kind(KEY, "127.0.0.1", peer.port, reconnect_policy="none")
        asked = live.subscribe("GLBX.MDP3", "trades")
        if asked != 0:
            await asked
        got: list[int] = []

        async def iterate() -> None:
            async for record in live:
                got.append(record.sequence)

        task = asyncio.create_task(iterate())
        while not got:
            await asyncio.sleep(0.01)
        await live.wait_for_close(peers.TIMEOUT)
        await task
        return got

    with Peer(paced(40, 0.01)) as peer:
        assert run(work()) == list(range(40))


def test_terminate_inside_a_callback(run: Runner) -> None:
    async def work() -> int:
        got = []

        def end_at_third(record: Any) -> None:
            got.append(record)
            if len(got) == 3:
                live.terminate()

        live = await subscribed(peer)
        live.add_callback(end_at_third)
        await live.start()
        await live.wait_for_close(peers.TIMEOUT)
        return len(got)

    with Peer(serving(BODY, stay=True)) as peer:
        assert run(work()) == 3
        assert peer.talks[0].was_ended()


def test_a_client_that_is_collected_ends_its_session(run: Runner) -> None:
    async def work() -> None:
        live = await subscribed(peer)
        live.add_callback(lambda record: None)
        await live.start()
        del live
        gc.collect()
        assert await asyncio.to_thread(peer.talks[0].was_ended)

    with Peer(serving(BODY, stay=True)) as peer:
        run(work())


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the loop that leaves the transport
def test_a_client_outlives_its_loop(run: Runner) -> None:
    async def begin() -> None:
        await live.subscribe("GLBX.MDP3", "trades")

    async def again() -> list[Any]:
        assert await live.subscribe("GLBX.MDP3", "trades") == 0
        return [record async for record in live]

    with Peer(serving(BODY, stay=True), serving(BODY)) as peer:
        live = client(peer)
        run(begin())
        assert len(run(again())) == 50
        gc.collect()


def test_another_loop_is_refused() -> None:
    async def begin() -> None:
        await live.subscribe("GLBX.MDP3", "trades")

    async def use() -> None:
        with pytest.raises(ValueError, match="another event loop"):
            await live.subscribe("GLBX.MDP3", "trades")
        with pytest.raises(ValueError, match="another event loop"):
            await live.start()

    async def end() -> None:
        await live.stop()

    with Peer(serving(BODY, stay=True)) as peer:
        live = client(peer)
        with asyncio.Runner() as runner:
            runner.run(begin())
            thread = threading.Thread(target=lambda: asyncio.run(use()))
            thread.start()
            thread.join(peers.TIMEOUT)
            runner.run(end())


def test_one_connection_though_the_session_starts_while_it_connects() -> None:
    async def work() -> int:
        loop = asyncio.get_running_loop()
        resolve = loop.getaddrinfo

        async def slowly(*arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(0.2)
            return await resolve(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            live = client(peer)
            patch.setattr(loop, "getaddrinfo", slowly)
            asked = asyncio.create_task(live.subscribe("GLBX.MDP3", "trades"))
            await asyncio.sleep(0.05)
            await live.start()
            await asked
            return len([record async for record in live])

    with Peer(serving(BODY)) as peer:
        assert asyncio.run(work()) == 50
        assert len(peer.talks) == 1


def test_terminate_while_it_connects(run: Runner) -> None:
    async def work() -> None:
        live = client(peer)
        asked = asyncio.create_task(live.subscribe("GLBX.MDP3", "trades"))
        while not peer.talks:
            await asyncio.sleep(0.01)
        live.terminate()
        await asyncio.wait_for(asked, peers.TIMEOUT)
        assert not live.is_connected()

    with Peer(Talk.wait_for_end) as peer:
        run(work())


def test_a_name_that_cannot_be_one(run: Runner) -> None:
    async def work() -> None:
        live = AsyncLive(KEY, "a" * 80, 13_000, reconnect_policy="none")
        with pytest.raises(ConnectError, match="no connection to aaa"):
            await live.subscribe("GLBX.MDP3", "trades")

    run(work())


def test_a_loop_that_was_held_up_judges_no_silence(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "MARGIN", 0.0)
    monkeypatch.setattr(session.Session, "interval", 1)

    async def work() -> int:
        live = await subscribed(peer)
        n = 0
        async for records in live.batches():
            n += len(records)
            if n in (3, 12):
                time.sleep(1.3)  # longer than silence may be; meanwhile records come
        return n

    with Peer(paced(30, 0.1)) as peer:
        assert run(work()) == 30


def test_what_a_little_inflates_to_is_bounded(run: Runner) -> None:
    n = 3_000_000  # 144 MB of records in a few kB
    packed = zstd().compress(peers.live_header() + TRADES[0] * n)

    def script(talk: Talk) -> None:
        talk.greet()
        talk.until_start()
        talk.send(packed)

    async def work() -> tuple[int, int]:
        live = await subscribed(peer, compression="zstd", max_buffer=1 << 20)
        found, most = 0, 0
        async for records in live.batches():
            found += len(records)
            most = max(most, live.stats().backlog_bytes)
            await asyncio.sleep(0)  # the loop may read on meanwhile
        return found, most

    with Peer(script) as peer:
        found, most = run(work())
    assert found == n
    assert most < 40 << 20


def test_a_socket_that_takes_no_option_is_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on macOS, where the other side may have reset it by then."""

    class Deaf:
        def setsockopt(self, *args: Any) -> None:
            raise OSError(22, "Invalid argument")

    class Transport:
        def get_extra_info(self, name: str) -> Deaf:
            return Deaf()

    class Driver:
        made: Any = None

    made: list[Any] = []
    driver: Any = Driver()
    driver.made = made.append
    transport: Any = Transport()
    connection = loop._Connection(driver)
    connection.connection_made(transport)
    assert made == [connection]
