"""What a session says and hears, line by line, for people to read."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from dbnfast._util.times import as_datetime64
from dbnfast.enums import UNDEF_TIMESTAMP, RType
from dbnfast.layouts.dtypes import rtype_key
from dbnfast.live.wire.auth import ApiKey, n_common

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dbnfast.records.records import Records

LONGEST: Final = 400  # characters of a line; 500 symbols are shortened to that
HEX_BYTES: Final = 256  # of one piece
HEX_COLUMNS: Final = 16
PLAIN: Final = 0x7F  # bytes from here on are shown as dots


class TextStream(Protocol):
    """What has ``write`` for text."""

    def write(self, text: str, /) -> Any:
        """
        Write text.

        Parameters
        ----------
        text : str
            Whole lines.

        Returns
        -------
        object
            Not looked at.
        """
        ...


Target = bool | TextStream | Callable[[str], Any] | logging.Logger


class Trace:
    """
    Write down what goes over a connection.

    Parameters
    ----------
    target : True, text stream, callable or Logger
        Where to: True is standard error. A callable gets each entry without its line break, a
        Logger each at level DEBUG.
    hexdump : bool
        Whether `received_bytes` shows bytes.
    clock : callable
        Gives the time in ns since 1970-01-01 UTC.
    key : ApiKey, optional
        What must not be seen: in all that is written its last five letters stand for it.

    Raises
    ------
    TypeError
        Nothing can be written to the target.

    Notes
    -----
    No method raises: a target that fails does not end a session. The first failure is a
    ``RuntimeWarning``, later ones pass in silence.
    """

    def __init__(
        self,
        target: Target,
        *,
        hexdump: bool = False,
        clock: Callable[[], int] = time.time_ns,
        key: ApiKey | None = None,
    ) -> None:
        self._put = _writer(target)
        self._clock = clock
        self._keys = [] if key is None else [key]
        self._warned = False
        self._before = b""  # the last bytes shown: a key may begin in them
        self.hexdump = bool(hexdump)

    def sent_line(self, line: bytes) -> None:
        """
        Write down a line of text that was sent.

        Parameters
        ----------
        line : bytes
            With or without its line break.
        """
        self._write("send", lambda: _text_of(line))

    def received_line(self, line: bytes) -> None:
        """
        Write down a line of text that came.

        Parameters
        ----------
        line : bytes
            With or without its line break.
        """
        self._write("recv", lambda: _text_of(line))

    def received_records(self, records: Records, n_bytes: int) -> None:
        """
        Write down in one line what records came.

        Parameters
        ----------
        records : Records
            Them.
        n_bytes : int
            Bytes that came for them, compressed where the stream is.
        """
        self._write("recv", lambda: _summary(records, n_bytes))

    def received_bytes(self, data: Buffer) -> None:
        """
        Write down bytes, the first 256 of them, where `hexdump` is set.

        Parameters
        ----------
        data : bytes-like
            What came.
        """
        if self.hexdump:
            self._write("recv", lambda: f"{memoryview(data).nbytes} bytes", data)

    def note(self, text: str) -> None:
        """
        Write down what happened.

        Parameters
        ----------
        text : str
            In words: connected, end of stream, next attempt in 1.3 s.
        """
        self.say("note", text)

    def say(self, kind: str, text: str) -> None:
        """
        Write down a text of whatever kind.

        Parameters
        ----------
        kind : str
            What stands in brackets: ``"send"``, ``"recv"`` or ``"note"``.
        text : str
            In words.
        """
        self._write(kind, lambda: text)

    def _write(self, kind: str, words: Callable[[], str], data: Buffer | None = None) -> None:
        try:
            text = self._hidden(words())
            entry = f"{_time(self._clock())}Z [{kind}] {_shortened(_printable(text))}"
            if data is not None:
                entry = "\n".join([entry, *self._dumped(memoryview(data).cast("B"))])
            self._put(entry)
        except Exception as error:
            if not self._warned:
                self._warned = True
                # where warnings are errors, this one is none either
                with contextlib.suppress(Exception):
                    warnings.warn(
                        f"the trace cannot be written: {self._hidden(str(error))}",
                        RuntimeWarning,
                        stacklevel=3,
                    )

    def _hidden(self, text: str) -> str:
        for key in self._keys:
            text = key.hide(text)
        return text

    def _dumped(self, data: memoryview) -> list[str]:
        before = self._before
        begin = before + bytes(data[: 2 * HEX_BYTES])
        longest = max((len(key.secret) for key in self._keys), default=1)
        self._before = (before + bytes(data[-longest:]))[1 - longest :] if longest > 1 else b""
        for key in self._keys:
            begin = _masked(begin, key)
        begin = begin[len(before) :]
        lines = [
            f"{at:08x}: {_hex(begin[at : at + HEX_COLUMNS])}"
            for at in range(0, min(len(data), HEX_BYTES), HEX_COLUMNS)
        ]
        if len(data) > HEX_BYTES:
            lines.append(f"... {len(data) - HEX_BYTES} bytes more")
        return lines

    def __repr__(self) -> str:
        return f"<Trace: hexdump={self.hexdump}>"


def trace_of(value: Any, key: ApiKey | None = None) -> Trace | None:
    """
    Make what a user gave for ``trace=`` a Trace.

    Parameters
    ----------
    value : None, bool, text stream, callable, Logger or Trace
        None or False for no trace, a Trace as it is, else as `Trace` takes it.
    key : ApiKey, optional
        What must not be seen.

    Returns
    -------
    Trace or None

    Raises
    ------
    TypeError
        Nothing can be written to it.
    """
    if value is None or value is False:
        return None
    if isinstance(value, Trace):
        if key is not None and all(key.secret != known.secret for known in value._keys):
            value._keys.append(key)  # one trace may be given to session after session
        return value
    return Trace(value, key=key)


def _writer(target: Any) -> Callable[[str], Any]:
    if target is True:
        return lambda entry: _to_stream(sys.stderr, entry)  # whatever that is at the time
    if isinstance(target, logging.Logger):
        return lambda entry: target.debug("%s", entry)
    if hasattr(target, "write"):
        return lambda entry: _to_stream(target, entry)
    if callable(target):
        call: Callable[[str], Any] = target
        return call
    raise TypeError(
        f"trace is {target!r}, expected True, a text stream, a callable or a logging.Logger"
    )


def _to_stream(stream: Any, entry: str) -> None:
    if stream is None:
        return  # a process without standard error
    stream.write(f"{entry}\n")
    if hasattr(stream, "flush"):
        stream.flush()


def _time(ns: int) -> str:
    # to microseconds, as ISO 8601
    return str(as_datetime64(ns).astype("M8[us]")) if ns != UNDEF_TIMESTAMP else "undefined"


def _stamp(ns: int) -> str:
    return "undefined" if ns == UNDEF_TIMESTAMP else f"{as_datetime64(ns)}Z"


def _text_of(line: bytes) -> str:
    return bytes(line).removesuffix(b"\n").decode("utf-8", "backslashreplace")


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _shortened(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters ... {text[-half:]}"


def _summary(records: Records, n_bytes: int) -> str:
    counts = ", ".join(f"{n} {_name(rtype)}" for rtype, n in records.counts.items())
    if not len(records):
        return f"{n_bytes} bytes, no record"
    first, last = records[0].ts_event, records[-1].ts_event
    return f"{n_bytes} bytes, {counts}; ts_event {_stamp(first)} to {_stamp(last)}"


def _name(rtype: int) -> str:
    key = rtype_key(rtype)
    return str(key) if isinstance(key, RType) else f"of rtype {key:#04x}"


def _masked(data: bytes, key: ApiKey) -> bytes:
    # with a star for each byte of a key, or of its beginning, that must not be seen
    secret, own = key.secret.encode(), key.bucket_id.encode()
    data = data.replace(secret, own.rjust(len(secret), b"*"))
    begin = secret[: len(own) + 1]
    at = data.find(begin)
    while at >= 0:
        end = at + n_common(data[at:], secret)
        data = data[:at] + b"*" * (end - at) + data[end:]
        at = data.find(begin, end)
    return data


def _hex(row: bytes) -> str:
    # as xxd shows it: pairs of bytes, and what can be printed
    pairs = " ".join(row[at : at + 2].hex() for at in range(0, HEX_COLUMNS, 2))
    text = "".join(chr(byte) if 0x20 <= byte < PLAIN else "." for byte in row)
    return f"{pairs:<39}  {text}"
