"""What the gateway's own records say to a session."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np

from dbnfast.enums import UNDEF_TIMESTAMP, ErrorCode, RType, Schema, SystemCode
from dbnfast.layouts.table import CONTROL
from dbnfast.records.headers import event_times, groups, record_types
from dbnfast.records.messages import ErrorMsg, SymbolMappingMsg, SystemMsg
from dbnfast.symbology.codes import texts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast.records.records import Records

# what is said of who connects, whatever was asked for
OF_THE_KEY: Final = frozenset(
    (
        ErrorCode.AUTH_FAILED,
        ErrorCode.API_KEY_DEACTIVATED,
        ErrorCode.CONNECTION_LIMIT_EXCEEDED,
    )
)
# what no new connection mends
FATAL: Final = OF_THE_KEY | {ErrorCode.INVALID_SUBSCRIPTION, ErrorCode.REPLAY_DATA_AGED_OUT}
# what ends the connection, though another may do better
ENDING: Final = FATAL | {ErrorCode.INTERNAL_ERROR}
HARMLESS: Final = frozenset(
    (ErrorCode.SYMBOL_RESOLUTION_FAILED, ErrorCode.SKIPPED_RECORDS_AFTER_SLOW_READING)
)

_ACK: Final = re.compile(
    r"Subscription request (?:(?P<id>\d+) )?for (?P<schema>\S+) data succeeded"
)
_FINISHED: Final = re.compile(r"Finished (?P<schema>\S+) replay")
_TELLING: Final = [int(SystemCode.SUBSCRIPTION_ACK), int(SystemCode.REPLAY_COMPLETED)]
# what is said only to a session that goes on
_GOES_ON: Final = frozenset(
    int(code)
    for code in (SystemCode.HEARTBEAT, SystemCode.REPLAY_COMPLETED, SystemCode.END_OF_INTERVAL)
)

Message = TypeVar("Message", ErrorMsg, SymbolMappingMsg, SystemMsg)


def kinds_in(records: Records) -> tuple[bool, bool]:
    """
    Tell what there is in a batch.

    Parameters
    ----------
    records : Records
        Of any version.

    Returns
    -------
    control, market : bool
        Whether records of the gateway's own are in it, and whether others.
    """
    control = market = False
    for rtype, _, _ in groups(records):
        if rtype in CONTROL:
            control = True
        else:
            market = True
    return control, market


def mappings_in(records: Records) -> Iterator[SymbolMappingMsg]:
    """
    Give the symbol mappings of a batch.

    Parameters
    ----------
    records : Records
        Of any version.

    Yields
    ------
    SymbolMappingMsg
        Upgraded, in the stream's order.
    """
    return _of(records, RType.SYMBOL_MAPPING, SymbolMappingMsg)


def errors_in(records: Records) -> Iterator[ErrorMsg]:
    """
    Give the error records of a batch.

    Parameters
    ----------
    records : Records
        Of any version.

    Yields
    ------
    ErrorMsg
        Upgraded, in the stream's order.
    """
    return _of(records, RType.ERROR, ErrorMsg)


def warnings_in(records: Records) -> Iterator[str]:
    """
    Give the gateway's warnings that this side reads too slowly.

    Parameters
    ----------
    records : Records
        Of any version.

    Yields
    ------
    str
        Their words.
    """
    for message in _of(records, RType.SYSTEM, SystemMsg):
        if message.code == SystemCode.SLOW_READER_WARNING:
            yield message.msg


def _of(records: Records, rtype: RType, kind: type[Message]) -> Iterator[Message]:
    # the records of one type as objects, older ones upgraded
    if rtype in records.counts:
        for record in records.filter(rtype):
            if isinstance(record, kind):
                yield record


class Ack(NamedTuple):
    """A subscription that was acknowledged: its id, where that is told, and schema, and when."""

    id: int | None
    schema: Schema
    now_ns: int


class Finished(NamedTuple):
    """A replay that is complete, the place of the record that says so, and its time."""

    place: int
    schema: Schema
    now_ns: int


class Heard(NamedTuple):
    """
    What control records say.

    Attributes
    ----------
    now_ns : int or None
        The gateway's time at the first of them; None where there is none.
    goes_on : bool
        Whether one says that the session goes on.
    acks, finished : list
        In the stream's order.
    """

    now_ns: int | None
    goes_on: bool
    acks: list[Ack]
    finished: list[Finished]


def heard_in(records: Records) -> Heard:
    """
    Read the system records of a batch, and the time of the first control record.

    Parameters
    ----------
    records : Records
        Of any version.

    Returns
    -------
    Heard
    """
    heard = Heard(_first_time(records), False, [], [])
    system = records.filter(RType.SYSTEM)
    if not len(system):
        return heard
    array = system.upgrade().array(RType.SYSTEM)
    places = np.flatnonzero(record_types(records) == int(RType.SYSTEM)).tolist()
    codes = array["code"].tolist()
    for at in np.flatnonzero(np.isin(codes, _TELLING)).tolist():
        text = texts_of(array["msg"][at : at + 1])[0] or ""
        said = (_ACK if codes[at] == SystemCode.SUBSCRIPTION_ACK else _FINISHED).match(text)
        schema = None if said is None else _schema(said["schema"])
        if said is None or schema is None:
            continue
        if codes[at] == SystemCode.SUBSCRIPTION_ACK:
            id = None if said["id"] is None else int(said["id"])
            heard.acks.append(Ack(id, schema, int(array["ts_event"][at])))
        else:
            heard.finished.append(Finished(places[at], schema, int(array["ts_event"][at])))
    return heard._replace(goes_on=not _GOES_ON.isdisjoint(codes))


def _schema(text: str) -> Schema | None:
    try:
        return Schema(text)
    except ValueError:
        return None


def _first_time(records: Records) -> int | None:
    control = np.isin(record_types(records), list(CONTROL))
    times = event_times(records)[control]
    times = times[times != UNDEF_TIMESTAMP]
    return int(times[0]) if len(times) else None


def named_in(records: Records) -> list[tuple[str, int]]:
    """
    Read what each symbol mapping of a batch was subscribed to.

    Parameters
    ----------
    records : Records
        Of any version.

    Returns
    -------
    list of (symbol, instrument_id)
        What was subscribed to, in upper case; in the stream's order.
    """
    array = records.array(RType.SYMBOL_MAPPING)
    symbols = texts_of(array["stype_in_symbol"])
    return [
        (symbol.upper(), id)
        for symbol, id in zip(symbols, array["instrument_id"].tolist(), strict=True)
        if symbol is not None
    ]
