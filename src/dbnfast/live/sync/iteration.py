"""The iterators of the blocking client."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dbnfast.enums import DBN_VERSION
from dbnfast.records.records import Records, empty_records

TURN: Final = 1024  # records of one turn of the event loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from dbnfast.live.events import Event
    from dbnfast.live.sync.engine import Engine
    from dbnfast.records.messages import Record


def items_of(engine: Engine, owner: object, max_wait: float | None) -> Generator[Records | Event]:
    """
    Iterate over records and events in the consumer's thread.

    Parameters
    ----------
    engine : Engine
        What brings them.
    owner : object
        The client, which would end the session if it were collected meanwhile.
    max_wait : float or None
        Seconds after which empty Records are given where nothing came.

    Yields
    ------
    Records or event
        Until the session ends; an iterator that is closed before ends the session.
    """
    session = engine.session
    try:
        while True:
            engine.taker = threading.current_thread()  # which may be another one each time
            items, handed = engine.pull(max_wait)
            if items is None:
                break
            if not items:
                yield empty_records(DBN_VERSION, session.options.ts_out, session.metadata)
            for item in items:
                if engine.sinks.forgotten:
                    break
                if engine.sinks and not handed:
                    engine.sinks.dispatch(item, session.metadata)
                yield item
        engine.check()
    finally:
        engine.terminate()
        del owner


async def records_on_loop(engine: Engine, owner: object) -> AsyncGenerator[Record]:
    """
    Iterate over records on an event loop, while a thread reads.

    Parameters
    ----------
    engine : Engine
        What brings them.
    owner : object
        The client, which would end the session if it were collected meanwhile.

    Yields
    ------
    Record
        Until the session ends; an iterator that is closed before ends the session.
    """
    session = engine.session
    ready = asyncio.Event()
    engine.taker = threading.current_thread()
    engine.notify = setter(ready)
    engine.task = asyncio.current_task()
    try:
        while (items := engine.take_ready()) is not None:
            if not items:
                await ready.wait()
                ready.clear()
            for item in items:
                if engine.sinks.forgotten:
                    break
                engine.sinks.dispatch(item, session.metadata)
                if isinstance(item, Records):
                    for at in range(0, len(item), TURN):
                        for record in item[at : at + TURN]:
                            yield record
                        # the thread may always have more: nothing else would ever have its turn
                        await asyncio.sleep(0)
        engine.check()
    finally:
        engine.task = None
        engine.terminate()
        del owner


def setter(event: asyncio.Event) -> Callable[[], None]:
    """
    Make a function that sets an event of the running loop from any thread.

    Parameters
    ----------
    event : asyncio.Event
        The event.

    Returns
    -------
    callable
    """
    loop = asyncio.get_running_loop()

    def set_on_loop() -> None:
        with suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(event.set)

    return set_on_loop
