"""Where a session's records go by themselves: callbacks and streams."""

from __future__ import annotations

import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from threading import get_ident
from typing import IO, TYPE_CHECKING, Any, Final

from dbnfast._util.buffers import write_all
from dbnfast._util.times import as_timestamp, timestamps
from dbnfast.live.events import Reconnected
from dbnfast.live.log import log
from dbnfast.records.records import Records

if TYPE_CHECKING:
    import pandas

    from dbnfast.codec.metadata import Metadata
    from dbnfast.live.events import Event
    from dbnfast.records.messages import Record

    RecordCallback = Callable[[Record], object]
    ExceptionCallback = Callable[[Exception], object]
    ReconnectCallback = Callable[[pandas.Timestamp, pandas.Timestamp], object]

MAX_WARNINGS: Final = 10  # of one callback or stream


class _Guarded:
    # tells of exceptions in a user's code, and goes on

    def __init__(self, what: Any, on_error: ExceptionCallback | None) -> None:
        if on_error is not None and not callable(on_error):
            raise ValueError(f"{on_error!r} is not callable")
        self._name = getattr(what, "__name__", None) or repr(what)
        self._on_error = on_error
        self._n_warnings = 0

    def _failed(self, error: Exception) -> None:
        shown = _shown(error)
        log(logging.ERROR, "%s raised %s", self._name, shown, error=error)
        if self._on_error is None:
            self._warn(f"{self._name} raised {shown}, and there is no exception callback")
            return
        try:
            self._on_error(error)
        except Exception as again:
            shown = _shown(again)
            log(logging.ERROR, "the exception callback raised %s", shown, error=again)
            self._warn(f"the exception callback of {self._name} raised {shown}")

    def _warn(self, text: str) -> None:
        self._n_warnings += 1
        if self._n_warnings <= MAX_WARNINGS:
            last = "; no more such warnings follow" if self._n_warnings == MAX_WARNINGS else ""
            with suppress(Exception):  # where warnings are errors the session goes on too
                warnings.warn(text + last, RuntimeWarning, stacklevel=2)


def _shown(error: Exception) -> str:
    # exceptions are users' own classes, too
    try:
        return repr(error)
    except Exception:
        return type(error).__name__


class CallbackSink(_Guarded):
    """
    A function that gets every record.

    Parameters
    ----------
    function : callable
        Takes a Record.
    on_error : callable, optional
        Takes the exceptions that it raises.

    Raises
    ------
    ValueError
        Either is not callable.
    """

    def __init__(self, function: RecordCallback, on_error: ExceptionCallback | None = None) -> None:
        if not callable(function):
            raise ValueError(f"{function!r} is not callable")
        super().__init__(function, on_error)
        self.function = function
        self._waiting: Iterator[Record] = iter(())

    def dispatch(self, records: Records) -> None:
        """
        Call it for every record; one that raises does not keep the next from it.

        Parameters
        ----------
        records : Records
            In order.
        """
        waiting = self._waiting = iter(records)
        function = self.function
        while True:
            try:
                for record in waiting:
                    function(record)
                return
            except Exception as error:
                self._failed(error)

    def give_up(self) -> list[Record]:
        """
        End what `dispatch` does with the present record.

        Returns
        -------
        list of Record
            Those that it is not called for.
        """
        return list(self._waiting)

    def forget(self) -> None:
        """Leave out what is left of the records that it is being called for."""
        with suppress(ValueError):  # its next record is just being made, for the last call
            deque(self._waiting, maxlen=0)

    def call(self, record: Record) -> None:
        """
        Call it for one record.

        Parameters
        ----------
        record : Record
            The record.
        """
        try:
            self.function(record)
        except Exception as error:
            self._failed(error)


class StreamSink(_Guarded):
    """
    A file that gets the session's bytes, as DBN.

    Parameters
    ----------
    stream : path-like or writable
        A path must not exist yet; its file is closed at the end.
    on_error : callable, optional
        Takes the exceptions that writing raises.

    Raises
    ------
    ValueError
        It cannot be written to.
    OSError
        The path cannot be opened, or exists.
    """

    def __init__(
        self,
        stream: IO[bytes] | os.PathLike[str] | str,
        on_error: ExceptionCallback | None = None,
    ) -> None:
        super().__init__(stream, on_error)
        self._managed = isinstance(stream, str | os.PathLike)
        self._started = False
        self._n_whole = 0  # bytes of what was written to the end
        target: Any = stream
        if isinstance(stream, str | os.PathLike):
            # without a buffer: what was handed on is in the file, and a fork has nothing of it
            path = os.path.expanduser(stream)
            target = open(path, "xb", buffering=0)  # noqa: SIM115  # closed with the session
        elif not hasattr(stream, "write"):
            raise ValueError(f"{type(stream).__name__} has no write()")
        elif not getattr(stream, "writable", lambda: True)():
            raise ValueError(f"{type(stream).__name__} is not writable")
        self._stream = target

    def begin(self, metadata: Metadata) -> bool:
        """
        Write the header, once.

        Parameters
        ----------
        metadata : Metadata
            Of the session.

        Returns
        -------
        bool
            Whether it is written: records without it are of no use.
        """
        self._started = self._started or self._write(metadata.encode())
        return self._started

    def dispatch(self, records: Records) -> None:
        """
        Write records.

        Parameters
        ----------
        records : Records
            In order. Where writing fails, the session's own file has nothing of them, so that
            what comes behind them can be read.
        """
        self._write(records.data)

    def finish(self) -> None:
        """Flush it, and close it if the session opened it."""
        try:
            if not getattr(self._stream, "closed", False):
                if hasattr(self._stream, "flush"):
                    self._stream.flush()
                if self._managed:
                    self._stream.close()
        except Exception as error:
            self._failed(error)

    def _write(self, data: bytes | memoryview) -> bool:
        # whether all of it was
        try:
            write_all(self._stream, memoryview(data))
        except Exception as error:
            if self._managed:
                with suppress(OSError):  # shortening a file works on a full disk, too
                    self._stream.seek(self._n_whole)
                    self._stream.truncate()
            self._failed(error)
            return False
        self._n_whole += len(data)
        return True


class ReconnectSink(_Guarded):
    """
    A function that hears of new connections.

    Parameters
    ----------
    function : callable
        Takes the latest time received before, and the new session's start: pandas.Timestamp.
    on_error : callable, optional
        Takes the exceptions that it raises.

    Raises
    ------
    ValueError
        Either is not callable.
    MissingExtraError
        pandas is not installed.
    """

    def __init__(
        self, function: ReconnectCallback, on_error: ExceptionCallback | None = None
    ) -> None:
        if not callable(function):
            raise ValueError(f"{function!r} is not callable")
        super().__init__(function, on_error)
        timestamps()  # what is missing is told now, not at the first new connection
        self._function = function

    def dispatch(self, event: Reconnected) -> None:
        """
        Call it.

        Parameters
        ----------
        event : Reconnected
            What happened.
        """
        try:
            self._function(as_timestamp(event.last_ns), as_timestamp(event.metadata.start))
        except Exception as error:
            self._failed(error)


class Sinks:
    """
    All the callbacks and streams of a session.

    Attributes
    ----------
    forgotten : bool
        Whether what is left is not to be handed on.
    """

    def __init__(self) -> None:
        self.callbacks: list[CallbackSink] = []
        self.streams: list[StreamSink] = []
        self.reconnects: list[ReconnectSink] = []
        self.forgotten = False
        self._thread: int | None = None  # that called the only callback last
        self._rest: list[Record] = []  # of its batch, which others are to get, too

    def __bool__(self) -> bool:
        return bool(self.callbacks or self.streams or self.reconnects)

    @property
    def consuming(self) -> bool:
        """Whether records go to any of them."""
        return bool(self.callbacks or self.streams)

    def add_callback(self, callback: CallbackSink) -> None:
        """
        Add a callback.

        Parameters
        ----------
        callback : CallbackSink
            Inside the call of another one, it gets the records from the next one on.
        """
        if self._thread == get_ident() and len(self.callbacks) == 1:
            self._rest = self.callbacks[0].give_up()
        self.callbacks.append(callback)

    def dispatch(self, item: Records | Event, metadata: Metadata | None) -> None:
        """
        Hand on what came: to the streams first, then to the callbacks.

        Parameters
        ----------
        item : Records or event
            What is next in the session's order.
        metadata : Metadata or None
            The session's header.
        """
        if isinstance(item, Records):
            for stream in list(self.streams):
                if metadata is None or stream.begin(metadata):
                    stream.dispatch(item)
            callbacks = self.callbacks
            if len(callbacks) == 1:
                self._thread = get_ident()
                callbacks[0].dispatch(item)
                if self._rest:
                    rest, self._rest = self._rest, []
                    self._call_all(rest)
            elif callbacks:
                self._call_all(item)
        elif isinstance(item, Reconnected):
            for sink in list(self.reconnects):
                sink.dispatch(item)

    def _call_all(self, records: Iterable[Record]) -> None:
        for record in records:
            for callback in list(self.callbacks):
                callback.call(record)

    def forget(self) -> None:
        """Hand nothing on any more: from a callback not even the rest of the batch."""
        self.forgotten = True
        for callback in list(self.callbacks):
            callback.forget()
        self.callbacks.clear()

    def abandon(self) -> None:
        """Forget the callbacks and streams: they belong to the process this one was forked from."""
        self.callbacks, self.streams, self.reconnects = [], [], []

    def finish(self, metadata: Metadata | None) -> None:
        """
        End with the session.

        Parameters
        ----------
        metadata : Metadata or None
            The session's header.
        """
        for stream in self.streams:
            if metadata is not None:
                stream.begin(metadata)
            stream.finish()
        self.callbacks.clear()
        self.streams.clear()
        self.reconnects.clear()
