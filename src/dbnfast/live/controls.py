"""What the gateway's own records say to a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from dbnfast.enums import ErrorCode, RType, SystemCode
from dbnfast.messages import ErrorMsg, SymbolMappingMsg, SystemMsg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast.records import Records

CONTROL: Final = (RType.ERROR, RType.SYMBOL_MAPPING, RType.SYSTEM)
# what no new connection mends
FATAL: Final = frozenset(
    (
        ErrorCode.AUTH_FAILED,
        ErrorCode.API_KEY_DEACTIVATED,
        ErrorCode.CONNECTION_LIMIT_EXCEEDED,
        ErrorCode.INVALID_SUBSCRIPTION,
        ErrorCode.REPLAY_DATA_AGED_OUT,
    )
)
# what ends the connection, though another may do better
ENDING: Final = FATAL | {ErrorCode.INTERNAL_ERROR}
HARMLESS: Final = frozenset(
    (ErrorCode.SYMBOL_RESOLUTION_FAILED, ErrorCode.SKIPPED_RECORDS_AFTER_SLOW_READING)
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
    for rtype, _, _ in records._groups:
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
