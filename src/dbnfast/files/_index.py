"""The index of a seekable file, held against what is in its frames."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from dbnfast.codec.index import NOTHING, Contents, contents, logged_index
from dbnfast.codec.reader import RecordReader, frame_log, n_given
from dbnfast.errors import DecompressionError
from dbnfast.records.headers import record_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast.codec.index import Index
    from dbnfast.codec.packed import LoggedFrame
    from dbnfast.records.records import Records

    Wrong = tuple[int, str]

FEW: Final = 5  # frames that are named


class FrameSurvey:
    """
    What is in each zstd frame, found by its records.

    Parameters
    ----------
    reader : RecordReader
        Over a stream, told to remember its frames; nothing but the header was read.
    """

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader
        self._header_size = n_given(reader)
        self._found: list[tuple[Contents, bool]] = []  # and whether it ends between records
        self._now = NOTHING  # of the frame that has not ended

    def add(self, records: Records) -> None:
        """
        Take the next block.

        Parameters
        ----------
        records : Records
            What the reader gave last.
        """
        log = frame_log(self._reader)
        if log is None:
            return
        begin = n_given(self._reader) - records.nbytes
        ends = begin + np.cumsum(record_sizes(records))
        at = 0
        for frame in islice(log, len(self._found), None):
            if frame.plain_end > ends[-1]:
                break
            stop = int(np.searchsorted(ends, frame.plain_end, "right"))
            end = int(ends[stop - 1]) if stop else begin
            if stop > at:
                self._now = self._now.joined(contents(records[at:stop]))
            # one that ends in the header is judged by its size
            self._found.append((self._now, end == frame.plain_end or frame.plain_end < begin))
            self._now, at = NOTHING, stop
        if at < len(records):
            self._now = self._now.joined(contents(records[at:]))

    def wrong(self) -> Iterator[Wrong]:
        """
        Say what is wrong with the index, where the whole file was read.

        Yields
        ------
        int, str
            The compressed byte, and what is there, in words.
        """
        log = frame_log(self._reader)
        if log is None:
            return
        try:
            index = logged_index(log)
        except DecompressionError as error:
            yield error.offset or 0, str(error)
            return
        if index is None:
            return
        self._found += [(NOTHING, True)] * (len(log) - len(self._found))  # behind the last record
        frames = log[:-2]
        if index.n_frames != len(frames):
            yield log[-2].start, f"the index has {index.n_frames} frames, the file {len(frames)}"
            return
        if index.header_size != self._header_size:
            text = f"the index says that the header has {index.header_size} bytes, it has "
            yield log[-2].start, f"{text}{self._header_size}"
        wrong: list[Wrong] = []
        for number, frame in enumerate(frames):
            differs = self._differs(index, number, frame, frames)
            if differs is not None:
                wrong.append((frame.start, f"frame {number} at byte {frame.start}: {differs}"))
        yield from wrong[:FEW]
        if len(wrong) > FEW:
            yield wrong[FEW][0], f"{len(wrong) - FEW:,} more frames are not as the index says"

    def _differs(
        self, index: Index, number: int, frame: LoggedFrame, frames: list[LoggedFrame]
    ) -> str | None:
        said = index.frame(number)
        before = frames[number - 1].plain_end if number else 0
        found, is_whole = self._found[number]
        size, n_plain = frame.end - frame.start, frame.plain_end - before
        if (said.start, said.size, said.plain_size) != (frame.start, size, n_plain):
            return (
                f"it has {size} bytes with {n_plain} of content, the table says {said.size} at "
                f"byte {said.start} with {said.plain_size}"
            )
        checksum = int(index.checksums[number])
        if len(frame.raw) == 4 and int.from_bytes(frame.raw, "little") != checksum:
            return f"its checksum is {frame.raw[::-1].hex()}, the table says {checksum:08x}"
        if not is_whole:
            return "it ends inside a record"
        if said.contents != found:
            names = Contents._fields
            pairs = zip(names, found, said.contents, strict=True)
            differ = [(name, own, other) for name, own, other in pairs if own != other]
            return "; ".join(
                f"{name} is {own}, the index says {other}" for name, own, other in differ
            )
        return None
