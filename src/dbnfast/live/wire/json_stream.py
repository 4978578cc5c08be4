"""A live stream of JSON lines, read as the decoder reads DBN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbnfast.codec.compression import Inflater
from dbnfast.codec.metadata import Metadata
from dbnfast.enums import Compression, SType
from dbnfast.errors import DecodeError, InvalidRecordError
from dbnfast.text.json import JsonLines

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dbnfast.records.records import Records

READ_BYTES: Final = 128 << 10
MAX_LINE: Final = 1 << 20  # the longest record takes a few KiB
PIECE: Final = 1 << 20  # what zstd makes at a time


class JsonStream:
    """
    JSON lines that come in pieces, with the methods of `Decoder`.

    Parameters
    ----------
    dataset : str
        Of the session.
    ts_out : bool
        Whether records end in a ts_out.
    compression : Compression
        Of the stream.
    start : int
        What the metadata states, ns since 1970-01-01 UTC.

    Attributes
    ----------
    metadata : Metadata
        Made of the request, for no header comes.
    """

    drained = False  # one read may not give all there is

    def __init__(
        self,
        dataset: str,
        *,
        ts_out: bool = False,
        compression: Compression = Compression.NONE,
        start: int = 0,
    ) -> None:
        self.metadata = Metadata(
            dataset=dataset,
            start=start,
            stype_out=SType.INSTRUMENT_ID,
            ts_out=ts_out,
        )
        self._lines = JsonLines(metadata=self.metadata)
        self._inflater = Inflater() if compression == Compression.ZSTD else None
        self._block = memoryview(bytearray(READ_BYTES))
        self._held = bytearray()  # the beginning of a line
        self._ready: list[Records] = []
        self._error: DecodeError | None = None

    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """
        Lend memory for the next bytes of the stream.

        Parameters
        ----------
        sizehint : int
            Not used.

        Returns
        -------
        memoryview
            Writable, never empty.
        """
        del sizehint
        return self._block

    def buffer_updated(self, nbytes: int) -> None:
        """
        Take the first bytes of what was lent.

        Parameters
        ----------
        nbytes : int
            How many were written.
        """
        self.feed(self._block[:nbytes])

    def feed(self, data: Buffer) -> None:
        """
        Take the next bytes of the stream.

        Parameters
        ----------
        data : bytes-like
            They are copied.
        """
        if self._inflater is None:
            self._push(bytes(data))
        else:
            self._inflater.push(bytes(data))

    def feed_eof(self) -> None:
        """Tell that the stream has ended; a line that is not whole is left out."""

    def read(self) -> list[Records]:
        """
        Hand out the records that are whole.

        Returns
        -------
        list of Records
            Of compressed data what a MiB of text holds, as a rule: call it until it is empty.

        Raises
        ------
        DecodeError
            A line cannot be read; what came before it was handed out by the calls before.
        """
        while not self._ready and self._error is None and self._inflater is not None:
            try:
                piece = self._inflater.pull(PIECE)
            except DecodeError as error:
                self._error = error
                break
            if not piece:
                break
            self._push(piece)
        ready, self._ready = self._ready, []
        if not ready and self._error is not None:
            raise self._error.with_traceback(None)
        return ready

    def _push(self, data: bytes) -> None:
        if self._error is not None:
            return
        if (self._held[:3] + data[:3])[:3] == b"DBN":  # a header, which no line break need end
            self._error = InvalidRecordError("DBN came, expected lines of JSON")
            return
        cut = data.rfind(b"\n") + 1
        if not cut:
            self._held += data
            if len(self._held) > MAX_LINE:
                self._error = InvalidRecordError(f"a line is longer than {MAX_LINE} bytes")
            return
        whole = bytes(self._held) + data[:cut]
        self._held = bytearray(data[cut:])
        try:
            records = self._lines.push(whole)
        except InvalidRecordError as error:
            self._error = error
            good = error.good
            if good is None:
                return
            records = good
        if len(records):
            self._ready.append(records)
