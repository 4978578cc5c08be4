"""`DBNDecoder`: DBN in pieces to objects, as ``databento_dbn.DBNDecoder`` decodes it."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Final, TypeVar

from dbnfast._core.pieces import Objects
from dbnfast.codec.decoder import Decoder
from dbnfast.enums import Compression, VersionUpgradePolicy
from dbnfast.errors import DecodeError
from dbnfast.layouts.programs import SIZES
from dbnfast.records.messages import record_table

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dbnfast.codec.metadata import Metadata
    from dbnfast.records.messages import Record
    from dbnfast.records.records import Records

T = TypeVar("T", "Metadata", "Records")
VERSIONS: Final = {
    VersionUpgradePolicy.UPGRADE_TO_V2: 2,
    VersionUpgradePolicy.UPGRADE_TO_V3: 3,
}


class DBNDecoder(Objects):
    """
    Decode a DBN stream that arrives in pieces to objects.

    `Decoder` gives `Records` instead, from which arrays are made without objects.

    Parameters
    ----------
    has_metadata : bool
        False for a fragment: records without a header.
    ts_out : bool
        Whether each record of a fragment ends with a ts_out; of a stream, its header says it.
    input_version : int, optional
        The DBN version of a fragment; None to infer it from the sizes of the records.
    upgrade_policy : VersionUpgradePolicy, optional
        What becomes of older versions; None for an upgrade to version 3.
    compression : Compression
        Of the stream; zstd is also detected.

    Notes
    -----
    Records before damage are returned; the error is raised by the next call, and by all that
    follow. Only one thread at a time may use a decoder.
    """

    __module__ = "dbnfast.dbn"

    def __init__(
        self,
        has_metadata: bool = True,
        ts_out: bool = False,
        input_version: int | None = None,
        upgrade_policy: VersionUpgradePolicy | None = None,
        compression: Compression = Compression.NONE,
    ) -> None:
        policy = VersionUpgradePolicy.UPGRADE_TO_V3 if upgrade_policy is None else upgrade_policy
        self._to_version = VERSIONS.get(VersionUpgradePolicy(policy))
        kind = Compression(compression)
        self._decoder = Decoder(
            has_metadata=has_metadata,
            input_version=None if has_metadata else input_version,
            ts_out=None if has_metadata else ts_out,
            # a header tells plain data from compressed; the first record of a fragment may not
            compression="auto" if has_metadata and kind == Compression.NONE else kind,
        )
        self._ts_out = bool(ts_out)
        self._metadata: Metadata | None = None
        self._written: list[builtins.bytes] = []  # what was not decoded is at its end

    if TYPE_CHECKING:  # what it inherits has another type

        def decode(self) -> list[Metadata | Record]: ...  # noqa: D102

    def write_and_decode(self, bytes: Buffer) -> list[Metadata | Record]:
        """
        Take the next bytes of the stream and return what is complete.

        Parameters
        ----------
        bytes : bytes-like
            Cut anywhere.

        Returns
        -------
        list
            As `decode` returns it.

        Raises
        ------
        DbnError
            As `decode` raises it.
        """
        self.write(bytes)
        return self.decode()

    def buffer(self) -> builtins.bytes:
        """
        Return the bytes that were written and not decoded.

        Returns
        -------
        bytes
        """
        return self._rest if self._direct else b"".join(self._written)

    def _write_other(self, bytes: Buffer) -> None:
        # what is no bytes object, or no plain stream whose records have begun
        data = bytes if type(bytes) is builtins.bytes else memoryview(bytes).tobytes()
        if self._direct:
            self.write(data)
            return
        self._decoder.feed(data)
        self._written.append(data)

    def _decode_other(self) -> list[Metadata | Record]:
        # a stream that is not plain, its beginning, or damage
        if rest := self._take(whole=False):
            self._decoder._advance(self._n_bytes, self._n_records)
            self._write_other(rest)
        before = self._metadata
        blocks = self._blocks()
        found: list[Metadata | Record] = []
        if before is None and self._metadata is not None:
            found.append(self._metadata)
        for block in blocks:
            found += block.objects(upgrade=False)
        if self._plain and self._to_version != 2:
            self._collect(record_table(), SIZES, self._stamped, upgrade=self._to_version == 3)
        return found

    @property
    def _plain(self) -> bool:
        # whether a plain stream is where a record begins
        decoder = self._decoder
        return decoder._direct and decoder._fault is None and not self._written

    @property
    def _stamped(self) -> bool:
        return self._ts_out if self._metadata is None else self._metadata.ts_out

    def _blocks(self) -> list[Records]:
        # what is complete, upgraded; for the Transcoder, which needs no objects
        ready: list[Records] = []
        try:
            while more := self._decoder.read():
                ready += more
                if self._decoder._direct:
                    break  # all of a plain stream comes at once
        except DecodeError:
            if not ready and self._metadata is self._decoder.metadata:
                raise
            # what is good comes first; the next call raises it again
        finally:
            self._forget()
        if self._metadata is None and self._decoder.metadata is not None:
            self._metadata = self._upgraded(self._decoder.metadata)
        return [self._upgraded(block) for block in ready]

    def _end(self) -> None:
        # the stream has ended; warns where that is inside a record
        self._decoder.feed_eof()
        self._decoder.read()

    def _upgraded(self, found: T) -> T:
        if self._to_version is None:
            return found
        try:
            return found.upgrade(self._to_version)
        except ValueError as error:
            raise DecodeError(str(error)) from None

    def _forget(self) -> None:
        # of what was written, what is decoded
        pending = self._decoder.pending
        if not pending:
            self._written.clear()
            return
        rest = sum(map(len, self._written)) - pending
        while self._written and rest >= len(self._written[0]):
            rest -= len(self._written.pop(0))
        if self._written and rest > 0:
            self._written[0] = self._written[0][rest:]
