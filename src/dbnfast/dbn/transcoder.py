"""`Transcoder`: DBN to CSV, JSON or DBN on the way, as ``databento_dbn.Transcoder`` does it."""

from __future__ import annotations

import builtins
import io
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final, cast

from dbnfast._core.pieces import Pieces
from dbnfast._util.buffers import write_all
from dbnfast.codec.compression import Deflater
from dbnfast.codec.encode import Encoder
from dbnfast.codec.metadata import Metadata
from dbnfast.dbn.decoder import DBNDecoder
from dbnfast.enums import DBN_VERSION, Compression, Encoding, Schema, SType
from dbnfast.layouts.programs import SIZES
from dbnfast.records.messages import record_table
from dbnfast.records.records import empty_records
from dbnfast.symbology.map import RESOLVE_KEYS, SymbolMap
from dbnfast.symbology.resolver import resolver
from dbnfast.text.programs import TextOptions
from dbnfast.text.write import RowWriter

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping, Sequence
    from typing import Self

    from typing_extensions import Buffer

    from dbnfast.enums import VersionUpgradePolicy
    from dbnfast.records.records import Records

    Intervals = Mapping[int, Sequence[tuple[datetime.date, datetime.date, str]]]

HELD: Final = 32 << 10  # bytes of records that wait for more of them
RANGE_AT: Final = 26  # of start, end and limit in a header of every version


class Transcoder(Pieces):
    """
    Write a DBN stream that arrives in pieces as CSV, JSON lines or DBN; a context manager.

    `Store.to_csv`, `Store.to_json` and `Store.to_file` do this for whole files.

    Parameters
    ----------
    file : writable
        Binary.
    encoding : Encoding
        Of the output.
    compression : Compression
        Of the output.
    pretty_px : bool
        Whether prices in text are decimals, else integers in units of 1e-9.
    pretty_ts : bool
        Whether times in text are ISO 8601, else integer ns.
    map_symbols : bool, optional
        Whether text has the symbol of each record; None for yes.
    has_metadata : bool
        False for a fragment: records without a header.
    ts_out : bool
        Whether each record of a fragment ends with a ts_out.
    symbol_interval_map : dict, optional
        Used instead of the mappings in the header: first day, day behind the last and symbol, by
        id, as `InstrumentMap.build_symbol_map` returns them.
    schema : Schema, optional
        Which records become CSV; None for the schema of the header.
    input_version : int, optional
        The DBN version of a fragment; None to infer it from the sizes of the records.
    upgrade_policy : VersionUpgradePolicy, optional
        What becomes of older versions; None for an upgrade to version 3.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value, or DBN should have symbols.
    """

    __module__ = "dbnfast.dbn"

    def __init__(
        self,
        file: IO[bytes],
        encoding: Encoding,
        compression: Compression,
        pretty_px: bool = True,
        pretty_ts: bool = True,
        map_symbols: bool | None = None,
        has_metadata: bool = True,
        ts_out: bool = False,
        symbol_interval_map: Intervals | None = None,
        schema: Schema | None = None,
        input_version: int | None = None,
        upgrade_policy: VersionUpgradePolicy | None = None,
    ) -> None:
        self._encoding = Encoding(encoding)
        if self._encoding == Encoding.DBN and map_symbols:
            raise ValueError("map_symbols is True, which only CSV and JSON can have")
        self._schema = None if schema is None else Schema(schema)
        self._out = _Out(file, Deflater(Compression(compression)))
        self._options = TextOptions(
            self._encoding == Encoding.JSON,
            bool(pretty_px),
            bool(pretty_ts),
            map_symbols is None or bool(map_symbols),
        )
        self._map = _symbol_map(symbol_interval_map)
        self._decoder = DBNDecoder(has_metadata, ts_out, input_version, upgrade_policy)
        version = max(input_version or 0, self._decoder._to_version or 0) or DBN_VERSION
        self._nothing = None if has_metadata else empty_records(version, bool(ts_out), None)
        self._encoder: Encoder | None = None
        self._rows: RowWriter | None = None
        self._begun = self._finished = False
        # rows of CSV can be read at once, as in the official packages
        self._waits = self._encoding != Encoding.CSV or Compression(compression) != Compression.NONE

    def _write_other(self, bytes: Buffer) -> None:
        # all pieces but small ones of a plain stream whose records have begun
        self._check()
        if self._direct:
            if type(bytes) is not builtins.bytes:
                self.write(memoryview(bytes).tobytes())
            else:
                self._catch_up()
            return
        self._decoder.write(bytes)
        self._work()
        if self._waits and self._decoder._plain:
            self._collect(record_table(), SIZES, self._decoder._stamped, upgrade=False, limit=HELD)

    def _catch_up(self) -> None:
        # of the records that wait, write those that are whole; all, where something is wrong
        if self._direct:
            self._direct = not self._fault
            self._decoder.write(self._take(whole=not self._fault))
            self._work()

    def _work(self) -> None:
        while True:
            blocks = self._decoder._blocks()
            if not self._begun and (blocks or self._decoder._metadata is not None):
                self._begin(blocks[0] if blocks else None)
            if self._encoder is not None:
                self._encoder.write(blocks)
            elif self._rows is not None:
                self._rows.write(blocks)
            if not blocks or self._decoder._plain:
                return  # else what was good came first: damage is told now

    def _begin(self, first: Records | None) -> None:
        # once it is known what the stream is
        metadata = self._decoder._metadata
        self._begun = True
        if self._encoding == Encoding.DBN:
            self._encoder = Encoder(cast("IO[bytes]", self._out), metadata)
            return
        symbols = resolver(metadata, self._map, text=True) if self._options.map_symbols else None
        self._rows = RowWriter(self._out, self._options, symbols)
        if self._encoding == Encoding.CSV:
            if first is None:
                assert metadata is not None
                first = empty_records(metadata.version, metadata.ts_out, metadata)
            self._rows.begin_csv(first, self._schema, metadata)

    def flush(self) -> None:
        """
        Hand to the output all that was written, so that it can be read so far.

        Raises
        ------
        ValueError
            The transcoder is finished.
        OSError
            The output takes no bytes.
        """
        self._check()
        self._catch_up()
        self._out.flush()

    def finish(self) -> None:
        """
        End the output; a second call does nothing.

        A stream that ends inside a record gives a `TruncatedWarning`.

        Raises
        ------
        DbnError
            The stream ended before its records.
        OSError
            The output takes no bytes.
        """
        if not self._finished:
            self._finished = True
            self._catch_up()
            self._direct = False
            self._decoder.write(self._take(whole=False))
            csv = self._encoding == Encoding.CSV
            if csv and not self._begun and self._nothing is not None and self._schema is not None:
                self._begin(self._nothing)  # the columns are known without records, too
            self._decoder._end()
            self._out.finish()

    def buffer(self) -> builtins.bytes:
        """
        Return the bytes that were written and not decoded.

        Returns
        -------
        bytes
        """
        self._catch_up()
        return self._rest if self._direct else self._decoder.buffer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None:
        if exc_type is None:
            self.finish()

    def __del__(self) -> None:
        # what is whole gets there, also where nobody says that this is the end
        if not getattr(self, "_finished", True):
            with suppress(Exception):
                self._catch_up()
                self._out.finish()

    def _check(self) -> None:
        if self._finished:
            raise ValueError("the transcoder is finished")


class _Out:
    """The output, with the compression before it."""

    def __init__(self, file: Any, deflater: Deflater) -> None:
        if not hasattr(file, "write"):
            raise TypeError(f"{type(file).__name__} has no write()")
        if isinstance(file, io.TextIOBase):
            raise TypeError(f"{type(file).__name__} takes text; open the file in binary mode")
        self._file = file
        self._deflater = deflater

    def write(self, data: Buffer) -> int:
        self._send(self._deflater.push(data))
        return memoryview(data).nbytes

    def flush(self) -> None:
        self._send(self._deflater.flush())
        if hasattr(self._file, "flush"):
            self._file.flush()

    def finish(self) -> None:
        self._send(self._deflater.finish())
        if hasattr(self._file, "flush"):
            self._file.flush()

    def _send(self, data: Buffer) -> None:
        if memoryview(data).nbytes:
            write_all(self._file, memoryview(data))


def _symbol_map(intervals: Intervals | None) -> SymbolMap | None:
    if intervals is None:
        return None
    result = {
        str(id_): [{"d0": first, "d1": last, "s": symbol} for first, last, symbol in rows]
        for id_, rows in intervals.items()
    }
    made = SymbolMap()
    made.insert_json(
        dict.fromkeys(RESOLVE_KEYS) | {
            "result": result, "stype_in": SType.INSTRUMENT_ID, "stype_out": SType.RAW_SYMBOL,
        }
    )  # fmt: skip
    return made


def update_encoded_metadata(
    file: IO[bytes], start: int, end: int | None = None, limit: int | None = None
) -> None:
    """
    Change times and limit in the header of a file.

    Parameters
    ----------
    file : file-like
        A plain DBN file, open for reading and writing. Its position is at its end afterwards.
    start : int
        The start, ns since 1970-01-01 UTC.
    end : int, optional
        The end, exclusive; None for an open one.
    limit : int, optional
        The most records that were asked for; None for no limit.

    Raises
    ------
    DbnError
        The file has no valid header.
    ValueError
        A time or the limit cannot be.
    """
    file.seek(0)
    head = file.read(8)
    head += file.read(int.from_bytes(head[4:8], "little"))
    metadata = Metadata.decode(head).replace(start=start, end=end, limit=limit)
    file.seek(RANGE_AT)
    file.write(metadata.encode()[RANGE_AT : RANGE_AT + 24])
    file.seek(0, io.SEEK_END)
