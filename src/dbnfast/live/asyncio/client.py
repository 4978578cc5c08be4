"""The asynchronous client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from dbnfast.enums import DBN_VERSION, SType
from dbnfast.live.asyncio.driver import Driver
from dbnfast.live.base import LiveBase
from dbnfast.live.wire.requests import ALL_SYMBOLS
from dbnfast.records.records import Records, empty_records

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from typing import Self

    from dbnfast._typing import SchemaName, STypeLike
    from dbnfast.enums import Schema
    from dbnfast.live.events import Event
    from dbnfast.records.messages import Record


class AsyncLive(LiveBase):
    """
    A live session on the running event loop, without a thread.

    The parameters are those of `Live`; ``loop`` and ``busy_poll_us`` are not used.

    Notes
    -----
    Call all methods in the thread of the loop. Reading pauses while more than `max_buffer` bytes
    wait to be taken. Errors are those of `Live`.
    """

    __module__ = "dbnfast"  # where users find it

    _driver: Driver | None = None
    _failed = False  # whether the last first subscription did, and said so

    async def subscribe(
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
        dataset, schema, symbols, stype_in, start, snapshot
            As `Live.subscribe` takes them.

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
        if self._driver is not None:
            self._driver.check_loop()
        wanted = self._subscription(schema, symbols, stype_in, start, snapshot)
        session, new = self._session_for(dataset)
        if new:
            self._driver = Driver(session, self._host, self._port, self._sinks)
        driver = self._driver
        assert driver is not None
        session.subscribe(wanted)
        if new:
            self._failed = False
            try:
                await driver.connect()
            except asyncio.CancelledError:
                driver.terminate()
                raise
            except Exception:
                self._failed = True
                raise
        driver.flush()
        return wanted.id

    async def start(self) -> None:
        """
        Start the session; callbacks and streams get its records, if there are any.

        Raises
        ------
        ValueError
            Nothing is subscribed, or the session has already started or ended.
        """
        driver = self._any_driver("start()")
        driver.session.require_open("start()")
        if driver.session.started:
            raise ValueError("the session has started already")
        driver.start()
        if self._sinks.consuming:
            driver.dispatch()

    async def stop(self) -> None:
        """
        End the session; records that were already received can still be taken.

        Without a session there is nothing to end.
        """
        if self._driver is not None:
            driver = self._any_driver("stop()")
            await asyncio.sleep(0)  # what has arrived is read
            driver.stop()
            await asyncio.sleep(0)  # the transport closes

    def terminate(self) -> None:
        """
        End the session at once and discard what was received.

        Without a session this does nothing.
        """
        if self._driver is not None:
            self._any_driver("terminate()").terminate()

    async def wait_for_close(self, timeout: float | None = None) -> None:
        """
        Wait until the session has ended; records that nothing takes are dropped.

        Without a session this returns at once. An iterator that has not come to its end gives what
        came. Where another task iterates, this may return before it has taken the last ones.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which the session is terminated.

        Raises
        ------
        LiveError, DecodeError
            The error that ended it, unless `subscribe` raised it.
        """
        if self._driver is None or self._failed:
            return
        driver = self._any_driver("wait_for_close()")
        driver.dispatch()
        own = driver.iterating and driver.task is asyncio.current_task()
        # an iterator may not end meanwhile: what came is still its to give
        end = driver.over if driver.iterating else driver.closed
        try:
            await asyncio.wait_for(end.wait(), timeout)
        except TimeoutError:
            if own:
                driver.stop()
            else:
                driver.terminate()
        except asyncio.CancelledError:
            driver.terminate()
            raise
        driver.session.check()

    async def batches(self, max_wait: float | None = None) -> AsyncGenerator[Records]:
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
        async with aclosing(self.events(max_wait)) as events:
            async for item in events:
                if isinstance(item, Records):
                    yield item

    async def events(self, max_wait: float | None = None) -> AsyncGenerator[Records | Event]:
        """
        Iterate over records and events, in the order of the stream.

        Parameters
        ----------
        max_wait : float, optional
            Seconds without data after which empty Records are given.

        Yields
        ------
        Records, Gap, Reconnected, Skipped, MarketState or ErrorEvent
            Until the session ends; leaving the loop early ends the session too.
        """
        driver = self._any_driver("iteration")
        if not len(driver.session.backlog):  # what an ended one received is still there to take
            driver.session.require_open("iteration")
        if driver.dispatching:
            raise ValueError(
                "the session's records go to its callbacks and streams since start(): "
                "iterate without calling start()"
            )
        if not driver.session.started:
            driver.start()
        driver.iterating, driver.task = True, asyncio.current_task()
        try:
            while (items := await driver.take(max_wait)) is not None:
                if not items:
                    yield empty_records(DBN_VERSION, self.ts_out, driver.session.metadata)
                for n, item in enumerate(items):
                    if n:  # what had to wait may be very much
                        await asyncio.sleep(0)
                    if driver.sinks.forgotten:
                        break
                    if driver.sinks:
                        driver.sinks.dispatch(item, driver.session.metadata)
                    yield item
            driver.session.check()
        finally:
            driver.iterating = False
            driver.terminate()

    def _sinks_changed(self) -> None:
        driver = self._driver
        if driver is not None and driver.session.started and not driver.session.ended:
            driver.dispatch_soon()

    async def __aiter__(self) -> AsyncGenerator[Record]:
        async with aclosing(self.batches()) as batches:
            async for records in batches:
                for record in records:
                    yield record

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._driver is not None:
            self._driver.terminate()
            await asyncio.sleep(0)

    def __del__(self) -> None:
        if self._driver is not None:
            self._driver.collected()

    def _any_driver(self, what: str) -> Driver:
        if self._driver is None:
            raise ValueError(f"{what} needs a session: call subscribe() first")
        self._driver.check_loop()
        return self._driver
