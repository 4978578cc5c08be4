"""The incremental Decoder: bytes in any pieces, Records out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np

from dbnfast._core.decoder import Feed
from dbnfast._core.metadata import header_size, parse_header
from dbnfast._util.buffers import as_bytes
from dbnfast.codec import compression as zstd
from dbnfast.codec.damage import cut_record, invalid_record, warn_caller
from dbnfast.codec.metadata import Metadata, stated_size
from dbnfast.codec.options import check_options, check_stated, infer_version
from dbnfast.enums import DBN_VERSION, Compression
from dbnfast.errors import DecodeError, MetadataError, TruncatedError
from dbnfast.layouts.programs import SIZES
from dbnfast.records.headers import restated
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from typing_extensions import Buffer

OUTPUT_PIECE: Final = 1 << 20  # what zstd makes at a time
READ_LIMIT: Final = 16 << 20  # what one read() makes of zstd input at most
INPUT_BLOCK: Final = 128 << 10
DETECT_BYTES: Final = 4


class Decoder(Feed):
    """
    Decode a DBN stream that arrives in pieces.

    Pass bytes to `feed`, or write them into the buffer that `get_buffer` lends, as in
    `asyncio.BufferedProtocol`. The stream may be cut anywhere. `read` returns the complete records.

    Parameters
    ----------
    has_metadata : bool
        False for a fragment: records without a header.
    input_version : int, optional
        The DBN version of a fragment; None to infer it from the sizes of the records.
    ts_out : bool, optional
        Whether each record of a fragment ends with a ts_out; None means no.
    compression : {"auto", "none", "zstd"}
        Compression of the stream; "auto" detects it from the content.

    Notes
    -----
    Feeding never raises because of the data: `read` first returns all good records, and raises
    at the next call and every later one. Bytes that were handed out are never overwritten. Only
    one thread at a time may use a decoder.

    A metadata header may be up to 512 MiB long. From zstd input, one `read` decompresses at most
    16 MiB, in pieces of 1 MiB; call it until it returns an empty list.
    In a damaged zstd frame the records of the 1 MiB before the damage may be missing: the frame's
    checksum would have to say whether they are good.
    """

    __module__ = "dbnfast"  # where users find it

    def __init__(
        self,
        *,
        has_metadata: bool = True,
        input_version: int | None = None,
        ts_out: bool | None = None,
        compression: Compression | str = "auto",
    ) -> None:
        check_options(has_metadata, input_version, ts_out, "warn")
        self._input_version = input_version
        self._ts_out = ts_out
        self._has_metadata = has_metadata
        self._metadata: Metadata | None = None
        self._set_up(Records, SIZES)
        self._inflater: zstd.Inflater | None = None
        self._detecting = compression == "auto"
        self._started = False
        self._unsettled = not has_metadata and input_version is None
        self._eof = False
        self._version = DBN_VERSION
        self._error: DecodeError | None = None
        self._warned = False
        # under zstd: the block that get_buffer lends; [begin, end) is not with the inflater yet
        self._input: memoryview | None = None
        self._input_begin = self._input_end = 0
        self._lent = False
        self._plain_lent: memoryview | None = None  # what the block lent
        if not self._detecting:
            if Compression(compression) == Compression.ZSTD:
                self._inflater = zstd.Inflater()
            self._begin_fragment()

    @property
    def metadata(self) -> Metadata | None:
        """The header; None until it is complete, and for a fragment."""
        return self._metadata

    @property
    def pending(self) -> int:
        """Number of bytes that were fed and are not part of records returned by `read`."""
        waiting = self._input_end - self._input_begin
        if self._inflater is not None:
            waiting += self._inflater.waiting
        return waiting + self._waiting

    def _feed_other(self, data: Buffer) -> None:
        # everything but bytes to a plain stream whose records have begun
        if self._eof:
            raise ValueError("the stream has ended: feed_eof() was called")
        if self._started and self._inflater is None:
            if type(data) is bytes:
                self._borrow(data)
            else:
                self._write(as_bytes(data))
        elif self._error is None:
            self._feed_head(data if type(data) is bytes else as_bytes(data))

    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """
        Lend memory for the next bytes of the stream.

        Parameters
        ----------
        sizehint : int
            How many bytes are wanted; the buffer may be smaller or larger.

        Returns
        -------
        memoryview
            Writable and never empty. Write to it only until you call `buffer_updated`.

        Raises
        ------
        ValueError
            `feed_eof` was called before.
        """
        if self._eof:
            raise ValueError("the stream has ended: feed_eof() was called")
        if self._inflater is None or self._plain_lent is not None:
            if self._plain_lent is not None and self._inflater is not None:
                return self._plain_lent
            self._plain_lent = self._lend(min(max(sizehint, -1), 2 * INPUT_BLOCK))
            return self._plain_lent
        if self._input is None:
            self._input = memoryview(np.empty(INPUT_BLOCK, np.uint8))
        if not self._lent and self._input_end == len(self._input):
            self._take_input()
        self._lent = True
        return self._input[self._input_end :]

    def buffer_updated(self, nbytes: int) -> None:
        """
        Take over bytes that were written into the buffer from `get_buffer`.

        Parameters
        ----------
        nbytes : int
            How many were written.

        Raises
        ------
        ValueError
            No buffer is lent, or it is smaller than that.
        """
        if self._eof:
            raise ValueError("the stream has ended: feed_eof() was called")
        lent = self._plain_lent
        if lent is None or self._lent:
            self._update_input(nbytes)
        elif self._inflater is None and self._error is None:
            self._commit(nbytes)
            self._plain_lent = None
            if not self._started:
                self._read_head()
        else:
            # since it was lent the stream proved to be compressed, or damaged
            if not 0 <= nbytes <= len(lent):
                raise ValueError(
                    f"{nbytes} bytes were written, the buffer has room for {len(lent)}"
                )
            self._plain_lent = None
            self._take_back()
            if self._inflater is not None and self._error is None:
                self._inflater.push(bytes(lent[:nbytes]))

    def _update_input(self, nbytes: int) -> None:
        if self._input is None or not self._lent:
            raise ValueError("no buffer from get_buffer is outstanding")
        room = len(self._input) - self._input_end
        if not 0 <= nbytes <= room:
            raise ValueError(f"{nbytes} bytes were written, the buffer has room for {room}")
        self._lent = False
        self._input_end += nbytes

    def feed_eof(self) -> None:
        """Tell that the stream has ended; a second call does nothing."""
        if self._detecting and self._held is not None and zstd.is_skippable(bytes(self._held[:4])):
            # too short to be DBZ: a frame, or the beginning of one
            self._detecting = False
            self._begin_zstd("zstd", bytes(self._held))
        self._eof = True
        self._direct = False

    def _read_other(self) -> list[Records]:
        # everything but a plain stream with records ready
        if self._inflater is not None and self._error is None:
            ready = self._inflate()
        else:
            ready = self._drain() if self._started else []
        if self._unsettled and ready:
            ready = self._settle(ready)
        if ready:
            return ready
        if self._error is None:
            self._error = self._find_error()
        if self._error is not None:
            raise self._error.with_traceback(None)  # or it would grow with every call
        return ready

    def _find_error(self) -> DecodeError | None:
        # what stands in the way once everything good is handed out
        fault = self._fault
        if fault is not None:
            return invalid_record(self._offset, self._n_records, *fault, bool(self._ts_out), None)
        if self._eof and not self._warned:
            return self._end()
        return None

    def _end(self) -> DecodeError | None:
        self._warned = True
        if not self._started and self._has_metadata:
            held = self._held
            n = 0 if held is None else len(held)
            if held is not None and self._inflater is None:
                self._header_size(held)  # too short to tell zstd, long enough to be no DBN
                if self._error is not None:
                    return self._error
            if n == 0 and self._inflater is None:
                text = "the stream is empty: expected a metadata header at byte 0"
            else:
                text = f"the stream ended inside its metadata: {n} bytes are there"
            return TruncatedError(text, offset=0, available=n)
        if self._inflater is not None and self._inflater.in_frame:
            text = f"the zstd frame at compressed byte {self._inflater.frame_at} is cut"
            warn_caller(text)
        elif self._waiting:
            text = str(cut_record(self._offset, self._n_records, self._tail))
            warn_caller(text)
        return None

    def _feed_head(self, data: bytes | memoryview) -> None:
        # before the records: hold what comes until it is known what it is
        if self._inflater is not None:
            self._take_input()
            self._inflater.push(data if type(data) is bytes else bytes(data))
        elif type(data) is not bytes or self._held is not None or not self._read_whole_head(data):
            self._hold(data)

    def _hold(self, data: bytes | memoryview) -> None:
        self._write(data)
        self._read_head()

    def _read_whole_head(self, data: bytes) -> bool:
        # the usual case: the first piece holds the whole header, and is borrowed
        if self._detecting:
            kind = self._detect(data)
            if kind is None:
                return False
            if kind != "none":
                self._begin_zstd(kind, data)
                return True
        if self._started:
            self._borrow(data)
            return True
        size = self._header_size(data)
        if size is None or len(data) < size:
            return self._error is not None
        self._begin(data, 0)
        if self._started:
            self._borrow(data, size)
        return True

    def _detect(self, data: bytes | memoryview) -> str | None:
        # None where more bytes are needed; DBZ shows at byte 8 of a skippable frame
        head = bytes(data[:12])
        if len(head) < (12 if zstd.is_skippable(head) else DETECT_BYTES):
            return None
        self._detecting = False
        kind = zstd.detect(head)
        if kind == "none":
            self._begin_fragment()
        return kind

    def _read_head(self) -> None:
        held = self._held
        if held is None:
            return
        if self._detecting:
            kind = self._detect(held)
            if kind is None:
                return
            if kind != "none":
                self._begin_zstd(kind, bytes(held))
                return
        if self._started or self._error is not None:
            return
        size = self._header_size(held)
        if size is not None and len(held) >= size:
            self._begin(bytes(held[:size]), size)

    def _header_size(self, data: bytes | memoryview) -> int | None:
        try:
            return stated_size(data)
        except MetadataError as error:
            self._fail(error)
            return None

    def _fail(self, error: DecodeError) -> None:
        # what is held is of no use to anybody; what was lent stays the borrower's
        self._error = error
        if not self._started:
            self._forget()

    def _begin(self, header: bytes, consumed: int) -> None:
        try:
            metadata = Metadata._from_header(parse_header(header))
            check_stated(metadata, self._input_version, self._ts_out)
        except DecodeError as error:
            self._fail(error)
            return
        except ValueError as error:
            self._fail(MetadataError(str(error)))
            return
        self._metadata = metadata
        self._ts_out = metadata.ts_out
        self._started = True
        self._direct = self._inflater is None and not self._eof
        size = cast("int", header_size(header))
        self._start(metadata.version, metadata.ts_out, metadata, consumed)
        self._advance(size)

    def _begin_fragment(self) -> None:
        if not self._has_metadata and not self._started:
            self._started = True
            self._direct = self._inflater is None and not self._unsettled and not self._eof
            self._version = self._input_version or DBN_VERSION
            self._start(self._version, bool(self._ts_out), None, 0)

    def _begin_zstd(self, kind: str, held: bytes) -> None:
        if kind == "dbz":
            self._fail(
                MetadataError("a DBZ stream cannot be decoded in pieces: use scan()", offset=0)
            )
            return
        self._forget()
        self._inflater = zstd.Inflater()
        self._inflater.push(held)
        self._begin_fragment()

    def _take_input(self) -> None:
        # hand a copy of what came to the inflater, so that the block can be used again
        if self._input is not None and self._input_end > self._input_begin:
            assert self._inflater is not None
            self._inflater.push(bytes(self._input[self._input_begin : self._input_end]))
            self._input_begin = self._input_end
        if not self._lent:
            self._input_begin = self._input_end = 0

    def _inflate(self) -> list[Records]:
        inflater = self._inflater
        assert inflater is not None
        self._take_input()
        ready: list[Records] = []
        made = 0
        try:
            while self._error is None and self._fault is None:
                if made >= READ_LIMIT and self._started:  # a header is read in one go
                    break
                piece = inflater.pull(OUTPUT_PIECE)
                if not piece:
                    break
                made += len(piece)
                if self._started:
                    self._borrow(piece)
                else:
                    self._feed_plain_head(piece)
        except DecodeError as error:
            self._error = error
        if self._started:
            ready = self._drain()
        return ready

    def _feed_plain_head(self, piece: bytes) -> None:
        # the header inside the compressed stream
        if self._held is not None or not self._read_whole_head(piece):
            self._hold(piece)

    def _settle(self, ready: list[Records]) -> list[Records]:
        # a fragment's version: once a record tells it, it holds
        settled = []
        for records in ready:
            inferred = infer_version(records) if self._unsettled else None
            if inferred is not None:
                self._version, self._unsettled = inferred[0], not inferred[1]
                self._settle_version(self._version)
                self._direct = self._inflater is None and not self._eof and not self._unsettled
            if records.version != self._version:
                records = restated(records, self._version, None)
            settled.append(records)
        return settled
