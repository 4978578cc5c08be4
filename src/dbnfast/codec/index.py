"""
The index of a seekable file: what is in each of its frames, and where they are.

The layout is that of the zstd seekable format: frames, and a seek table in a skippable frame at
the very end. Before the table, in another skippable frame, stands what is in each frame: how many
records, and of what times. See ``docs/format.md``, "Seekable files".
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dbnfast.codec.compression import packed_frame
from dbnfast.enums import UNDEF_TIMESTAMP
from dbnfast.errors import DecompressionError
from dbnfast.layouts.table import CONTROL
from dbnfast.records.headers import groups, index_times, record_types
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbnfast.codec.packed import LoggedFrame

    Pread = Callable[[int, int], bytes]
    Array = np.ndarray[Any, np.dtype[Any]]

INDEX_MAGIC: Final = 0x184D2A5D
INDEX_START: Final = INDEX_MAGIC.to_bytes(4, "little")
TABLE_MAGIC: Final = 0x184D2A5E
FOOTER_MAGIC: Final = 0x8F92EAB1
SIGNATURE: Final = b"DBNINDEX"
VERSION: Final = 1
TAIL: Final = 64 << 10  # bytes of a file's end that are read at first
FRAMES_MOST: Final = 1 << 18  # of a recording: more of them get no index, which grows in memory

_HAS_CHECKSUMS: Final = 0x80
_SKIP: Final = struct.Struct("<II")  # magic, size: what a skippable frame begins with
_FOOTER: Final = struct.Struct("<IBI")  # n frames, descriptor, magic
_ENTRY: Final = np.dtype([("size", "<u4"), ("plain", "<u4"), ("checksum", "<u4")])
_HEAD: Final = struct.Struct("<8sIIQ")  # signature, version, n frames, plain bytes of the header
_N_COLUMNS: Final = 6
_N_ENTRY: Final = 3 + _N_COLUMNS
_DIGEST_SIZE: Final = 16
_EMPTY_CHECKSUM: Final = 0x51D8E999  # of no bytes


class Contents(NamedTuple):
    """
    What is in a frame.

    Attributes
    ----------
    n_records : int
        Records.
    n_untimed : int
        Of them, those without an index timestamp. No range covers them.
    lowest, highest : int
        The index timestamps of data, ns since 1970-01-01 UTC; ``lowest`` is above ``highest``
        where there are none.
    control_lowest, control_highest : int
        The same of control records (errors, symbol mappings, system messages), whose times are
        those of a gateway's clock.
    """

    n_records: int = 0
    n_untimed: int = 0
    lowest: int = UNDEF_TIMESTAMP
    highest: int = 0
    control_lowest: int = UNDEF_TIMESTAMP
    control_highest: int = 0

    def joined(self, other: Contents) -> Contents:
        """
        Take together.

        Parameters
        ----------
        other : Contents
            Of other records.

        Returns
        -------
        Contents
        """
        return Contents(
            self.n_records + other.n_records,
            self.n_untimed + other.n_untimed,
            min(self.lowest, other.lowest),
            max(self.highest, other.highest),
            min(self.control_lowest, other.control_lowest),
            max(self.control_highest, other.control_highest),
        )


NOTHING: Final = Contents()


def contents(records: Records) -> Contents:
    """
    Find what an index says of records.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    Contents
    """
    times = index_times(records)
    timed = times != UNDEF_TIMESTAMP
    n_untimed = len(times) - int(np.count_nonzero(timed))
    if any(rtype in CONTROL for rtype, _, _ in groups(records)):
        control = np.isin(record_types(records), list(CONTROL))
        data, own = _range(times[timed & ~control]), _range(times[timed & control])
    else:
        data, own = _range(times[timed] if n_untimed else times), _range(times[:0])
    return Contents(len(records), n_untimed, *data, *own)


def _range(times: Array) -> tuple[int, int]:
    return int(times.min(initial=UNDEF_TIMESTAMP)), int(times.max(initial=0))


# --- writing ------------------------------------------------------------------------------------


class Table:
    """The frames of a file that is being written, and what the file ends with."""

    def __init__(self) -> None:
        self._entries = array("Q")  # of each frame its sizes, its checksum and what is in it
        self._header_size = 0
        self.size = 0  # bytes of the frames

    def __len__(self) -> int:
        return len(self._entries) // _N_ENTRY

    def add(self, frame: bytes, n_plain: int, found: Contents | None) -> None:
        """
        Take note of a frame that was written.

        Parameters
        ----------
        frame : bytes
            It ends with its checksum.
        n_plain : int
            Bytes of its content.
        found : Contents or None
            What is in it; None for the metadata header.
        """
        self.add_size(len(frame), n_plain, int.from_bytes(frame[-4:], "little"), found)

    def add_size(self, size: int, n_plain: int, checksum: int, found: Contents | None) -> None:
        """
        Take note of a frame.

        Parameters
        ----------
        size : int
            Its bytes.
        n_plain : int
            Bytes of its content.
        checksum : int
            Of its content, as zstd has it.
        found : Contents or None
            What is in it; None for the metadata header.
        """
        if found is None:
            self._header_size += n_plain
        self._entries.extend((size, n_plain, checksum, *(NOTHING if found is None else found)))
        self.size += size

    def set_checksum(self, number: int, checksum: int) -> None:
        """
        Say the checksum of a frame that was written over.

        Parameters
        ----------
        number : int
            Of the frame, counted from 0.
        checksum : int
            Of its content, as zstd has it.
        """
        self._entries[number * _N_ENTRY + 2] = checksum

    @property
    def end_size(self) -> int:
        """Bytes of what `tobytes` would make."""
        n = len(self)
        return _index_size(n) + _SKIP.size + (n + 1) * _ENTRY.itemsize + _FOOTER.size

    def tobytes(self) -> bytes:
        """
        Make the index and the seek table.

        Returns
        -------
        bytes
            Two skippable frames, which the file ends with.
        """
        n = len(self)
        size = _index_size(n)
        rows = np.array(self._entries, np.uint64).reshape(n, _N_ENTRY)
        index = _SKIP.pack(INDEX_MAGIC, size - _SKIP.size)
        index += _HEAD.pack(SIGNATURE, VERSION, n, self._header_size)
        index += rows[:, 3:].astype("<u8").tobytes()
        entries = rows[:, :3].astype("<u4").tobytes()
        entries += np.array((size, 0, _EMPTY_CHECKSUM), "<u4").tobytes()
        table = _SKIP.pack(TABLE_MAGIC, len(entries) + _FOOTER.size) + entries
        table += _FOOTER.pack(n + 1, _HAS_CHECKSUMS, FOOTER_MAGIC)
        return index + _digest(index, table) + table


def _index_size(n: int) -> int:
    return _SKIP.size + _HEAD.size + 8 * _N_COLUMNS * n + _DIGEST_SIZE


def _digest(index: bytes, table: bytes) -> bytes:
    import hashlib  # loads a library that reading plain data has no use for

    return hashlib.blake2b(index + table, digest_size=_DIGEST_SIZE).digest()


def checksum_of(data: bytes) -> int:
    """
    Find the checksum that zstd would write behind a frame.

    Parameters
    ----------
    data : bytes
        The content.

    Returns
    -------
    int
    """
    return int.from_bytes(packed_frame(data)[-4:], "little")


# --- reading ------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """
    A frame, as the index has it.

    Attributes
    ----------
    start, size : int
        Its bytes in the file.
    plain_start, plain_size : int
        Its content in the decompressed stream.
    contents : Contents
        What is in it; nothing in a frame of the metadata header.
    """

    start: int
    size: int
    plain_start: int
    plain_size: int
    contents: Contents


class Index(NamedTuple):
    """
    The frames of a seekable file.

    Attributes
    ----------
    header_size : int
        Plain bytes of the metadata header, which has frames of its own; 0 for a fragment.
    starts : ndarray of int64, shape (n_frames + 1,)
        Where the frames begin in the file, and where the last one ends.
    plain_starts : ndarray of int64, shape (n_frames + 1,)
        The same of their contents in the decompressed stream.
    checksums : ndarray of uint32, shape (n_frames,)
        Of their contents, as zstd has them.
    columns : ndarray of uint64, shape (n_frames, 6)
        Their `Contents`.
    """

    header_size: int
    starts: Array
    plain_starts: Array
    checksums: Array
    columns: Array

    @property
    def n_frames(self) -> int:
        """How many frames there are."""
        return len(self.columns)

    @property
    def n_records(self) -> int:
        """How many records there are."""
        return int(self.columns[:, 0].sum())

    @property
    def first(self) -> int:
        """Number of the first frame with records; the number of frames where there is none."""
        return int(np.searchsorted(self.plain_starts, self.header_size)) if self.n_frames else 0

    def frame(self, number: int) -> Frame:
        """
        Give a frame.

        Parameters
        ----------
        number : int
            Counted from 0, header included.

        Returns
        -------
        Frame
        """
        start, end = self.starts[number : number + 2].tolist()
        plain_start, plain_end = self.plain_starts[number : number + 2].tolist()
        found = Contents(*self.columns[number].tolist())
        return Frame(start, end - start, plain_start, plain_end - plain_start, found)

    def overlapping(self, start: int | None, end: int | None) -> list[int]:
        """
        Find the frames that may have records of a range of index timestamps.

        Parameters
        ----------
        start, end : int or None
            From, and before, ns since 1970-01-01 UTC; None for no limit.

        Returns
        -------
        list of int
            The numbers of all frames with a record that ``start <= time < end`` holds for, control
            records included. A record without a time is in no range; without any limit, all
            frames with records are meant.
        """
        n, _, lowest, highest, control_lowest, control_highest = self.columns.T
        hit = n > 0
        if start is not None or end is not None:
            low = 0 if start is None else max(start, 0)
            high = UNDEF_TIMESTAMP - 1 if end is None else end - 1
            if low > high:
                return []
            # where a frame has no such times, its lowest is above its highest
            hit = (np.maximum(lowest, low) <= np.minimum(highest, high)) | (
                np.maximum(control_lowest, low) <= np.minimum(control_highest, high)
            )
        found: list[int] = np.flatnonzero(hit).tolist()
        return found


def read_index(pread: Pread, size: int) -> Index | None:
    """
    Read the index of a file, with at most two reads.

    Parameters
    ----------
    pread : callable
        Takes an offset and a number of bytes, and gives these bytes.
    size : int
        Of the file.

    Returns
    -------
    Index or None
        None where the file does not end with a seek table, or with one that has no index of DBN
        in a version that this package knows.

    Raises
    ------
    DecompressionError
        The table or the index is damaged, or is that of another file. The frames may be sound.
    OSError
        `pread` fails, or gives fewer bytes than it was asked for.
    """
    tail = read_exactly(pread, max(size - TAIL, 0), min(size, TAIL))
    found = _sizes(tail, size)
    if found is None:
        return None
    needed = sum(found)
    if needed > len(tail):
        tail = read_exactly(pread, size - needed, needed - len(tail)) + tail
    return parse_index(tail[-needed:], size)


def read_exactly(pread: Pread, at: int, n: int) -> bytes:
    """
    Read bytes that are there.

    Parameters
    ----------
    pread : callable
        As `read_index` takes it.
    at, n : int
        Where, and how many.

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        The file ends before.
    """
    data = bytes(pread(at, n)) if n else b""
    if len(data) != n:
        raise OSError(f"reading {n} bytes at byte {at} gave {len(data)}")
    return data


def _sizes(tail: bytes, size: int) -> tuple[int, int] | None:
    # bytes of the index and of the table, both with their headers
    if len(tail) < _SKIP.size + _FOOTER.size:
        return None
    n, descriptor, magic = _FOOTER.unpack(tail[-_FOOTER.size :])
    if magic != FOOTER_MAGIC or not descriptor & _HAS_CHECKSUMS or n == 0:
        return None
    table = _SKIP.size + n * _ENTRY.itemsize + _FOOTER.size
    if table > size:
        raise DecompressionError(
            f"the seek table of {n} frames needs {table} bytes, the file has {size}"
        )
    index = _index_size(n - 1)
    return (index, table) if index + table <= size else None


def parse_index(tail: bytes, size: int) -> Index | None:
    """
    Read an index.

    Parameters
    ----------
    tail : bytes
        The end of a file: index and seek table.
    size : int
        Of the file.

    Returns
    -------
    Index or None
        As `read_index` gives it.

    Raises
    ------
    DecompressionError
        As `read_index` raises it.
    """
    found = _sizes(tail, size)
    if found is None:
        return None
    index, table = tail[-sum(found) : -found[1]], tail[-found[1] :]
    at = size - found[1]
    magic, n_bytes = _SKIP.unpack(table[: _SKIP.size])
    if (magic, n_bytes) != (TABLE_MAGIC, found[1] - _SKIP.size):
        raise DecompressionError(
            f"the seek table should begin at byte {at} as a skippable frame {TABLE_MAGIC:#x} with "
            f"{found[1] - _SKIP.size} bytes, found {magic:#x} with {n_bytes}",
            offset=at,
        )
    at -= found[0]
    entries = np.frombuffer(table[_SKIP.size : -_FOOTER.size], _ENTRY)
    if len(index) < found[0] or _SKIP.unpack(index[: _SKIP.size]) != (
        INDEX_MAGIC,
        found[0] - _SKIP.size,
    ):
        return None
    signature, version, n, header_size = _HEAD.unpack(index[_SKIP.size : _SKIP.size + _HEAD.size])
    if signature != SIGNATURE or version > VERSION:
        return None
    digest = _digest(index[:-_DIGEST_SIZE], table)
    if digest != index[-_DIGEST_SIZE:]:
        raise DecompressionError(
            f"the index at byte {at} or the seek table behind it is damaged: its digest is "
            f"{index[-_DIGEST_SIZE:].hex()}, that of the bytes is {digest.hex()}",
            offset=at,
        )
    starts = _running(entries["size"][:-1])
    if int(starts[-1]) != at:
        raise DecompressionError(
            f"the seek table is that of another file: its frames end at byte {int(starts[-1])}, "
            f"the index begins at byte {at}",
            offset=at,
        )
    columns = np.frombuffer(index, "<u8", n * _N_COLUMNS, _SKIP.size + _HEAD.size)
    return Index(
        header_size,
        starts,
        _running(entries["plain"][:-1]),
        entries["checksum"][:-1],
        columns.reshape(n, _N_COLUMNS),
    )


def logged_index(log: Sequence[LoggedFrame]) -> Index | None:
    """
    Read the index of a file that was read to its end.

    Parameters
    ----------
    log : sequence of LoggedFrame
        All its frames.

    Returns
    -------
    Index or None
        None where nothing in the file looks like an index or a seek table.

    Raises
    ------
    DecompressionError
        The index is not as it should be.
    """
    tables = [frame for frame in log if _magic(frame) == TABLE_MAGIC]
    indexes = [frame for frame in log if _is_index(frame)]
    if not tables and not indexes:
        return None
    last = log[-1]
    if not tables or (indexes and indexes[-1].start > tables[-1].start):
        raise DecompressionError(
            f"there is no seek table behind the index at byte {indexes[-1].start}",
            offset=indexes[-1].start,
        )
    if tables[-1] is not last:
        raise DecompressionError(
            f"the seek table at byte {tables[-1].start} is not at the end of the file: "
            f"{last.end - tables[-1].end} bytes follow",
            offset=tables[-1].start,
        )
    tail = last.raw
    if indexes and indexes[-1].end == last.start:
        tail = indexes[-1].raw + tail
    found = parse_index(tail, last.end)
    if found is None and indexes:
        raise DecompressionError(
            f"the index at byte {indexes[-1].start} and the seek table at byte {last.start} do not "
            f"go together, or are not of version {VERSION}",
            offset=indexes[-1].start,
        )
    return found


def _is_index(frame: LoggedFrame) -> bool:
    # also where a bit of its magic, or of its signature, is wrong
    if not frame.skippable:
        return False
    n_rows = len(frame.raw) - _index_size(0)
    fits = n_rows >= 0 and n_rows % (8 * _N_COLUMNS) == 0
    return fits and (_magic(frame) == INDEX_MAGIC or frame.raw[8:16] == SIGNATURE)


def _magic(frame: LoggedFrame) -> int:
    return int.from_bytes(frame.raw[:4], "little") if frame.skippable else 0


def _running(sizes: Array) -> Array:
    sums = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=sums[1:])
    return sums
