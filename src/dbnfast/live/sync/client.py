"""The blocking client."""

from __future__ import annotations

import asyncio
import itertools
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dbnfast.enums import SType
from dbnfast.live.base import LiveBase
from dbnfast.live.sync.engine import LOOK_EVERY, Engine
from dbnfast.live.sync.iteration import items_of, records_on_loop, setter
from dbnfast.live.wire.requests import ALL_SYMBOLS
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from typing import Self

    from dbnfast._typing import SchemaName, STypeLike
    from dbnfast.enums import Schema
    from dbnfast.live.events import Event
    from dbnfast.records.messages import Record


class Live(LiveBase):  # numpydoc ignore=PR02
    """
    A live session, under the names and parameters of the official client.

    The first ``subscribe`` connects. The thread that iterates reads the socket. Another thread is
    used only after ``start`` with callbacks or streams, for ``async for``, and if `on_slow` is not
    "block".

    Parameters
    ----------
    key : str, optional
        The API key; None to take it from the environment variable ``DATABENTO_API_KEY``.
    gateway : str, optional
        The host of the gateway; None for that of the dataset.
    port : int
        The port of the gateway.
    ts_out : bool
        Whether each record ends with the time at which the gateway sent it.
    heartbeat_interval_s : int, optional
        Seconds of silence before the gateway sends a heartbeat, 5 to 1800.
    reconnect_policy : ReconnectPolicy or str
        "reconnect" continues over new connections and asks for a replay of what was missed; with
        "none" the session ends with its connection.
    slow_reader_behavior : SlowReaderBehavior or str, optional
        "skip" or "warn": what the gateway does if this client falls behind.
    compression : Compression or str
        "none" or "zstd".
    loop : object, optional
        Not used: `Live` needs no event loop, and `AsyncLive` uses the running one.
    dataset : str, optional
        The dataset, as a default for ``subscribe``.
    encoding : Encoding or str
        "dbn" or "json"; JSON lines become the same records.
    overlap : float
        How many seconds before the latest record a replay begins; choose more than records can
        be late.
    retry_first : bool
        Whether to go on trying if no gateway has let this side in yet. A failure is otherwise
        raised by ``subscribe``, whatever the policy; only a session that was let in once
        reconnects.
    on_slow : {"block", "drop_oldest", "latest"}
        What happens if more than `max_buffer` bytes wait to be taken: reading pauses; the oldest
        records are dropped; or only the latest of each type and instrument are kept.
    max_buffer : int
        Limit for `on_slow`, in bytes.
    trace : bool, writable, callable or Logger, optional
        Where to write every line that is sent or received, without the key; True for stderr.
    hours : bool, str or MarketHours, optional
        The market hours, by which silence is called "closed"; True for those of the dataset, a
        str for a calendar by its name.
    upgrade : bool
        Whether records of older DBN versions are upgraded to version 3.
    busy_poll_us : int
        Microseconds for which the reading thread polls the socket before it sleeps, if the last
        wait was shorter than that; 0 to sleep at once. Records that arrive at least that often are
        delivered sooner and keep a core busy. `AsyncLive` does not use it.

    Notes
    -----
    An error that ends a session is raised in the call that uses it: `AuthenticationError` or
    `GatewayError`; with the policy "none" also `ConnectError`, `HeartbeatTimeout`,
    `RemoteProtocolError` or `DecodeError`.
    """

    __module__ = "dbnfast"  # where users find it

    _engine: Engine | None = None
    _failed = False  # whether the last first subscription did, and said so

    def subscribe(
        self,
        dataset: str | None = None,
        schema: Schema | SchemaName | str | None = None,
        symbols: Iterable[str | int] | str | int | None = ALL_SYMBOLS,
        stype_in: STypeLike = SType.RAW_SYMBOL,
        start: Any = None,
        snapshot: bool = False,
    ) -> int:
        """
        Subscribe to records; the first call connects and authenticates.

        Parameters
        ----------
        dataset : str, optional
            The dataset. All subscriptions of a session share it.
        schema : Schema or str
            The schema to subscribe to.
        symbols : iterable of str or int, str, int or None
            The symbols; all by default and for None.
        stype_in : SType or str
            The kind of symbols.
        start : Timestamp, datetime64, datetime, date, str or int, optional
            Where replay begins; ints are ns, text is UTC. 0 for everything that the gateway has.
        snapshot : bool
            Whether to begin with the state of the book; only for "mbo" and without `start`.

        Returns
        -------
        int
            The subscription's id, counted from 0.

        Raises
        ------
        TypeError, ValueError
            The subscription is not possible.
        AuthenticationError
            The gateway refused the key or the session.
        ConnectError
            No connection can be made, unless ``retry_first`` has it tried again.
        """
        with self._asking:
            wanted = self._subscription(schema, symbols, stype_in, start, snapshot)
            session, new = self._session_for(dataset)
            if new:
                self._failed = False
            try:
                if new:
                    self._engine = Engine(session, self._host, self._port, self._sinks, self._poll)
                self._any_engine("subscribe()").subscribe(wanted, connect=new)
            except BaseException:  # an interrupt too: there is no half a session
                if new:
                    session.stop()
                    self._failed = True
                raise
            return wanted.id

    def start(self) -> None:
        """
        Start the session; a thread of its own serves callbacks and streams.

        Raises
        ------
        ValueError
            Nothing is subscribed, or the session has already started or ended.
        """
        engine = self._any_engine("start()")
        engine.session.require_open("start()")
        if engine.session.started:
            raise ValueError("the session has started already")
        engine.start()
        engine.run_threads()

    def stop(self) -> None:
        """
        End the session; records that were already received are still delivered.

        Without a session there is nothing to end.
        """
        if self._engine is not None:
            self._engine.stop()

    def terminate(self) -> None:
        """
        End the session at once and discard what was received.

        Without a session this does nothing.
        """
        if self._engine is not None:
            self._engine.terminate()

    def block_for_close(self, timeout: float | None = None) -> None:
        """
        Wait until the session has ended; without one, return at once.

        Records go to the callbacks and streams meanwhile. An iterator that has not come to its end
        gives what came; without one the records are dropped. Where another thread iterates, this
        may return before it has taken the last ones.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which the session is terminated.

        Raises
        ------
        LiveError, DecodeError
            The error that ended it, unless `subscribe` raised it.
        """
        engine = self._engine
        if engine is None or self._failed:
            return
        try:
            if not engine.wait(timeout):
                self._time_is_up(engine)
        except KeyboardInterrupt:
            engine.terminate()
            raise
        engine.check()

    def _time_is_up(self, engine: Engine) -> None:
        if engine.iterating:  # which is to give what came
            engine.stop()
            engine.wait(None)
        else:
            engine.terminate()

    async def wait_for_close(self, timeout: float | None = None) -> None:
        """
        Wait until the session has ended, without blocking the event loop; without one, return.

        Records are treated as by `block_for_close`.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which the session is terminated.

        Raises
        ------
        LiveError, DecodeError
            The error that ended it, unless `subscribe` raised it.
        """
        engine = self._engine
        if engine is None or self._failed:
            return
        wait = None if engine.dispatch() else LOOK_EVERY
        closed = asyncio.Event()
        engine.call_when_closed(setter(closed))
        own = engine.task is not None and engine.task is asyncio.current_task()
        try:
            async with asyncio.timeout(timeout):
                # an iterator may not end meanwhile: the session does
                while not closed.is_set() and not (wait and engine.look()):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(closed.wait(), wait)
        except TimeoutError:
            if own or engine.iterating:
                engine.stop()
            else:
                engine.terminate()
        except asyncio.CancelledError:
            engine.terminate()
            raise
        engine.check()

    def batches(self, max_wait: float | None = None) -> Iterator[Records]:
        """
        Iterate over the records as they arrive, in batches.

        Parameters
        ----------
        max_wait : float, optional
            Seconds without data after which an empty batch is given.

        Yields
        ------
        Records
            What one read brought, without waiting for more; a view of the receive buffer.
        """
        return (item for item in self.events(max_wait) if isinstance(item, Records))

    def events(self, max_wait: float | None = None) -> Iterator[Records | Event]:
        """
        Iterate over records and events, in the order of the stream.

        Parameters
        ----------
        max_wait : float, optional
            Seconds without data after which empty Records are given.

        Returns
        -------
        iterator of Records, Gap, Disconnected, Reconnected, Skipped, MarketState and ErrorEvent
            It ends with the session; leaving it early ends the session too.
        """
        engine = self._any_engine("iteration")
        engine.iterate()
        items = items_of(engine, self, max_wait)
        engine.iterator = weakref.ref(items)
        return items

    def __iter__(self) -> Iterator[Record]:
        return itertools.chain.from_iterable(self.batches())

    def __aiter__(self) -> AsyncIterator[Record]:
        engine = self._any_engine("iteration")
        engine.iterate(ahead=True)
        return records_on_loop(engine, self)

    def _sinks_changed(self) -> None:
        engine = self._engine
        if engine is not None and engine.session.started and engine.taker is None:
            engine.run_threads()

    def _any_engine(self, what: str) -> Engine:
        if self._engine is not None:
            return self._engine
        raise ValueError(f"{what} needs a session: call subscribe() first")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._engine is not None:
            self._engine.terminate()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Bound early: at its end the interpreter clears a module's names, and may do so before
        # it drops the last objects. A lock may then be held by a thread that is no more.
        if not is_finalizing():
            self.__exit__()
