"""
Faults on a schedule: what a gateway does wrong, and at which byte.

As text, for the command line, a fault is ``CONNECTION:NAME``, with ``@BYTES`` and ``=VALUE``
behind it where it has them. Connections count from 0; ``*`` is every one::

    0:cut@5000           the connection ends behind byte 5,000
    1:reset@100          it is reset there
    0:eof@5000           it ends at the next record's end
    0:silence@300        nothing comes any more, not even heartbeats
    0:delay@300=2.5      nothing comes for 2.5 seconds
    *:one_byte_writes    every byte is sent by itself
    0:refuse             the connection is closed as soon as it is made
    0:fail_auth=No.      the key is refused, with this text
    0:no_ack             no subscription is acknowledged
    0:double_ack         each is, twice
    0:error@300=6,Oops   an error record of code 6, at the next record's end

Bytes are those of the connection behind the answer to the key, compressed ones where the stream
is compressed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dbnfast.enums import ErrorCode

if TYPE_CHECKING:
    from dbnfast._typing import Piece

EVERY: Final = None  # as a connection's number
MAX_CODE: Final = 255  # of an error record


@dataclass(frozen=True)
class Cut:
    """
    The connection ends after `after_bytes` bytes, even within a record.

    Attributes
    ----------
    after_bytes : int
        Number of bytes after the answer to the key.
    """

    after_bytes: int = 0


@dataclass(frozen=True)
class Reset:
    """
    The connection is reset after `after_bytes` bytes.

    Attributes
    ----------
    after_bytes : int
        Number of bytes after the answer to the key.
    """

    after_bytes: int = 0


@dataclass(frozen=True)
class Eof:
    """
    The connection ends after the first whole record at or after `after_bytes` bytes.

    Attributes
    ----------
    after_bytes : int
        Number of bytes after the answer to the key.
    """

    after_bytes: int = 0


@dataclass(frozen=True)
class Silence:
    """
    Nothing is sent after `after_bytes` bytes, and the connection stays open.

    Attributes
    ----------
    after_bytes : int
        Number of bytes after the answer to the key.
    """

    after_bytes: int = 0


@dataclass(frozen=True)
class Delay:
    """
    Sending pauses for a while after `after_bytes` bytes.

    Attributes
    ----------
    after_bytes : int
        Number of bytes after the answer to the key.
    seconds : float
        The length of the pause, by the clock of the gateway.
    """

    after_bytes: int = 0
    seconds: float = 1.0


@dataclass(frozen=True)
class OneByteWrites:
    """Each byte is sent separately."""


@dataclass(frozen=True)
class Refuse:
    """The connection is closed as soon as it is made."""


@dataclass(frozen=True)
class FailAuth:
    """
    The key is refused.

    Attributes
    ----------
    text : str
        The reason given to the client.
    """

    text: str = "Authentication failed."


@dataclass(frozen=True)
class NoAck:
    """No subscription is acknowledged."""


@dataclass(frozen=True)
class DoubleAck:
    """Every subscription is acknowledged twice."""


@dataclass(frozen=True)
class SendError:
    """
    An error record follows the first whole record at or after `after_bytes` bytes.

    Attributes
    ----------
    code : ErrorCode or int
        The code of the error; a fatal one ends the connection.
    text : str
        The text of the error.
    after_bytes : int
        Number of bytes after the answer to the key.
    """

    code: ErrorCode | int = ErrorCode.INTERNAL_ERROR
    text: str = "Internal error"
    after_bytes: int = 0


Fault = (
    Cut | Reset | Eof | Silence | Delay | OneByteWrites | Refuse | FailAuth | NoAck | DoubleAck
    | SendError
)  # fmt: skip
Timed = Cut | Reset | Silence | Delay  # at an exact byte
Between = Eof | SendError  # at a record's end

_NAMES: Final[dict[str, type[Fault]]] = {
    "cut": Cut, "reset": Reset, "eof": Eof, "silence": Silence, "delay": Delay,
    "one_byte_writes": OneByteWrites, "refuse": Refuse, "fail_auth": FailAuth, "no_ack": NoAck,
    "double_ack": DoubleAck, "error": SendError,
}  # fmt: skip


class Faults:
    """
    Faults by connection.

    Parameters
    ----------
    schedule : mapping
        A fault, or a sequence of faults, by the number of the connection, counted from 0; None
        for all connections.

    Raises
    ------
    TypeError, ValueError
        It is not a valid schedule.
    """

    def __init__(self, schedule: Mapping[int | None, Fault | Sequence[Fault]] | None = None):
        self._schedule: dict[int | None, tuple[Fault, ...]] = {}
        if not isinstance(schedule, Mapping | None):
            raise TypeError(f"faults is {schedule!r}, expected faults by number of connection")
        for number, given in (schedule or {}).items():
            if number is not None and (not isinstance(number, int) or number < 0):
                raise ValueError(f"connection is {number!r}, expected a number from 0, or None")
            found = tuple(given) if isinstance(given, Iterable) else (given,)
            for fault in found:
                if type(fault) not in _NAMES.values():
                    raise TypeError(f"connection {number} has {fault!r}, expected a fault")
                if getattr(fault, "after_bytes", 0) < 0:
                    raise ValueError(f"{fault} has a negative number of bytes")
                if isinstance(fault, SendError) and not 0 <= fault.code <= MAX_CODE:
                    raise ValueError(f"{fault} has a code that is not 0 to {MAX_CODE}")
            self._schedule[number] = found

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Faults:
        """
        Read a schedule that is text.

        Parameters
        ----------
        texts : iterable of str
            A fault each, as this module's text says.

        Returns
        -------
        Faults

        Raises
        ------
        ValueError
            One is no fault.
        """
        schedule: dict[int | None, list[Fault]] = {}
        for text in texts:
            number, fault = _parsed(text)
            schedule.setdefault(number, []).append(fault)
        return cls({number: tuple(found) for number, found in schedule.items()})

    def of(self, connection: int) -> tuple[Fault, ...]:
        """
        Give a connection's faults.

        Parameters
        ----------
        connection : int
            Its number, counted from 0.

        Returns
        -------
        tuple
            Those of every connection first.
        """
        return (*self._schedule.get(EVERY, ()), *self._schedule.get(connection, ()))

    def __repr__(self) -> str:
        return f"Faults({self._schedule!r})"


def _parsed(text: str) -> tuple[int | None, Fault]:
    connection, _, rest = text.partition(":")
    action, equals, value = rest.partition("=")
    name, at, after = action.partition("@")
    try:
        cls = _NAMES[name]
        number = EVERY if connection == "*" else int(connection)
        fields: dict[str, object] = {}
        if at:
            fields["after_bytes"] = int(after)
        if equals and cls is Delay:
            fields["seconds"] = float(value)
        elif equals and cls is SendError:
            code, _, words = value.partition(",")
            fields["code"] = int(code)
            fields.update({"text": words} if words else {})
        elif equals:
            fields["text"] = value
        return number, cls(**fields)  # type: ignore[arg-type]
    except (KeyError, ValueError, TypeError):
        raise ValueError(
            f"fault is {text!r}, expected one such as 0:cut@5000 or *:delay@300=2.5, of "
            f"{', '.join(_NAMES)}"
        ) from None


class Outlet:
    """
    What leaves a connection behind the answer to the key, with faults at their bytes.

    Parameters
    ----------
    faults : sequence
        The connection's.

    Attributes
    ----------
    n_bytes : int
        Bytes that left.
    ended : bool
        Whether a fault ended the connection.
    aborted : bool
        Whether it did so by a reset.
    silent : bool
        Whether a fault silenced it.
    """

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        timed = [fault for fault in faults if isinstance(fault, Timed)]
        self._timed = deque(sorted(timed, key=lambda fault: fault.after_bytes))
        self._held: deque[memoryview] = deque()
        self._until: float | None = None
        self.n_bytes = 0
        self.ended = self.aborted = self.silent = False

    @property
    def holds(self) -> bool:
        """Whether bytes wait for a delay to pass."""
        return bool(self._held)

    @property
    def until(self) -> float | None:
        """When the delay at work ends, in seconds of the clock; None without one."""
        return self._until

    def pull(self, now: float, blocks: Iterable[Piece] = ()) -> list[memoryview]:
        """
        Let bytes leave.

        Parameters
        ----------
        now : float
            Seconds of the clock.
        blocks : iterable of bytes-like
            What is to be sent behind what is held.

        Returns
        -------
        list of memoryview
            What leaves now.
        """
        if self.ended or self.silent:
            return []
        if not self._timed and not self._held and self._until is None:
            out = [memoryview(block) for block in blocks]
            self.n_bytes += sum(map(len, out))
            return out
        self._held.extend(memoryview(block) for block in blocks)
        if self._until is not None:
            if now < self._until:
                return []
            self._until = None
        return self._pull_to_fault(now)

    def _pull_to_fault(self, now: float) -> list[memoryview]:
        out: list[memoryview] = []
        while True:
            while self._timed and self._timed[0].after_bytes <= self.n_bytes:
                if self._meet(self._timed.popleft(), now):
                    return out
            if not self._held:
                return out
            block = self._held.popleft()
            room = self._timed[0].after_bytes - self.n_bytes if self._timed else len(block)
            if len(block) > room:
                self._held.appendleft(block[room:])
                block = block[:room]
            out.append(block)
            self.n_bytes += len(block)

    def _meet(self, fault: Timed, now: float) -> bool:
        # whether nothing leaves for now
        if isinstance(fault, Delay):
            self._until = now + fault.seconds
            return True
        self._held.clear()
        self.silent = isinstance(fault, Silence)
        self.ended = not self.silent
        self.aborted = isinstance(fault, Reset)
        return True
