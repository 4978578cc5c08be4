"""What the table of layouts means to the compiled core: sizes, upgrade programs, offsets."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from dbnfast._core.copy import Program
from dbnfast._core.scan import SizeTable
from dbnfast.enums import F_SNAPSHOT, UNDEF_STAT_QUANTITY, ErrorCode, RType, SystemCode
from dbnfast.layouts.fields import RESERVED, Field, Layout, is_integer
from dbnfast.layouts.table import HEADER_SIZE, LAYOUTS_BY_RTYPE, layout_for

# (head, tail, whole text, code), tried in order: what old records said in words only
_ERROR_RULES: Final = (
    (b"User or API key deactivated", b"", True, int(ErrorCode.API_KEY_DEACTIVATED)),
    (
        b"User has reached their open connection limit",
        b"",
        True,
        int(ErrorCode.CONNECTION_LIMIT_EXCEEDED),
    ),
    (b"Failed to resolve symbol", b"", False, int(ErrorCode.SYMBOL_RESOLUTION_FAILED)),
    (b"Internal error", b"", True, int(ErrorCode.INTERNAL_ERROR)),
    (b"Slow client detected for ", b"", False, int(ErrorCode.SKIPPED_RECORDS_AFTER_SLOW_READING)),
)
_SYSTEM_RULES: Final = (
    (b"Heartbeat", b"", True, int(SystemCode.HEARTBEAT)),
    (b"End of interval for ", b"", False, int(SystemCode.END_OF_INTERVAL)),
    (b"Subscription request ", b" succeeded", False, int(SystemCode.SUBSCRIPTION_ACK)),
    (b"Warning: slow reading", b"", False, int(SystemCode.SLOW_READER_WARNING)),
    (b"Finished ", b" replay", False, int(SystemCode.REPLAY_COMPLETED)),
)
CODE_RULES: Final = {RType.ERROR: ("err", _ERROR_RULES), RType.SYSTEM: ("msg", _SYSTEM_RULES)}


def _sizes() -> SizeTable:
    smallest = [HEADER_SIZE] * 256
    stamped = [HEADER_SIZE] * 256  # of an unknown rtype nothing is known, ts_out included
    for rtype, layouts in LAYOUTS_BY_RTYPE.items():
        smallest[rtype] = layouts[0].size
        stamped[rtype] = layouts[0].itemsize(True)
    return SizeTable(smallest, stamped)


SIZES: Final = _sizes()

# where each rtype has its index timestamp; the same in all versions
INDEX_TS_AT: Final = np.full(256, 8, np.uint16)
for _rtype, _layouts in LAYOUTS_BY_RTYPE.items():
    INDEX_TS_AT[_rtype] = _layouts[0].by_name[_layouts[0].index_ts].offset
INDEX_TS_AT.flags.writeable = False

# where each rtype has the time that a replay's start is held against: ts_event, but for quotes
# sampled at intervals, whose ts_recv is the interval's end
FILTER_TS_AT: Final = np.full(256, 8, np.uint16)
for _rtype in (RType.BBO_1S, RType.BBO_1M, RType.CBBO_1S, RType.CBBO_1M):
    FILTER_TS_AT[_rtype] = LAYOUTS_BY_RTYPE[_rtype][0].by_name["ts_recv"].offset
FILTER_TS_AT.flags.writeable = False

# where each rtype has flags that make a record part of a snapshot of the book, and which
SNAPSHOT_AT: Final = np.zeros(256, np.uint16)
SNAPSHOT_BITS: Final = np.zeros(256, np.uint8)
SNAPSHOT_AT[RType.MBO] = LAYOUTS_BY_RTYPE[RType.MBO][0].by_name["flags"].offset
SNAPSHOT_BITS[RType.MBO] = F_SNAPSHOT
SNAPSHOT_AT.flags.writeable = SNAPSHOT_BITS.flags.writeable = False


def _is_widened(old: Field, new: Field) -> bool:
    return (old.format, new.format) == ("<i4", "<i8")


@cache
def program(old: Layout, new: Layout) -> Program:
    """
    Make the program that upgrades records from one layout to another.

    Parameters
    ----------
    old, new : Layout
        Two layouts of one rtype.

    Returns
    -------
    Program
        Fields go by name, text is zero-extended, reserved bytes become zero, and what the old
        layout lacks is undefined. ts_out is kept by whoever runs the program.
    """
    blank = new.undefined()
    moves, widen = [], None
    for field in new.fields:
        source = old.by_name.get(field.name)
        if source is None or field.kind == RESERVED:
            continue
        if _is_widened(source, field):
            assert isinstance(source.undef, int)
            widen = (field.offset, source.offset, source.undef, UNDEF_STAT_QUANTITY)
        else:
            blank[field.name] = 0 if is_integer(field.format) else b""
            moves.append((field.offset, source.offset, min(field.size, source.size)))
    code = None
    rules = CODE_RULES.get(new.rtypes[0])
    if rules is not None and "code" not in old.by_name:
        text = old.by_name[rules[0]]
        code = (new.by_name["code"].offset, text.offset, text.size, rules[1])
    return Program(old.size, blank.tobytes(), moves, widen, code)


def upgraded(rtype: int, layout: Layout, to_version: int) -> Layout:
    """
    Find what a layout becomes in a newer version.

    Parameters
    ----------
    rtype : int
        The record type.
    layout : Layout
        The layout that records have.
    to_version : int
        The DBN version wanted.

    Returns
    -------
    Layout
        `layout` itself where the version brings nothing newer.
    """
    newer = layout_for(rtype, to_version)
    return newer if newer is not None and newer.size > layout.size else layout
