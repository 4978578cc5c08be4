"""The form in which a session's bytes leave: DBN or JSON, plain or compressed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbnfast.codec.compression import zstd
from dbnfast.codec.scan import scan
from dbnfast.enums import Compression, Encoding
from dbnfast.text.write import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast._typing import Piece
    from dbnfast.gateway.requests import AuthRequest

# Bytes that a block of zstd becomes at most. A client that asks its decoder once for each block it
# reads, with room for 64 KiB, leaves the rest of a larger one in there until it reads more.
BLOCK: Final = 32 << 10


class Form:
    """
    Bring records to the form that a client asked for.

    Parameters
    ----------
    request : AuthRequest
        What it asked for.
    version : int
        The DBN version of the records.
    """

    def __init__(self, request: AuthRequest, version: int) -> None:
        self._request = request
        self._version = version
        self.json = request.encoding == Encoding.JSON
        self._frame: Any = None
        if request.compression == Compression.ZSTD:
            self._frame = zstd().ZstdCompressor(level=1)

    def __call__(self, blocks: Sequence[Piece]) -> list[Piece]:
        """
        Give what is to be sent.

        Parameters
        ----------
        blocks : sequence of bytes-like
            Whole records.

        Returns
        -------
        list of bytes-like
            All of it: nothing is kept back.
        """
        if self.json:
            blocks = [self._lines(block) for block in blocks]
        if self._frame is None:
            return list(blocks)
        data = memoryview(b"".join(blocks))
        made = [
            self._frame.compress(data[at : at + BLOCK], self._frame.FLUSH_BLOCK)
            for at in range(0, len(data), BLOCK)
        ]
        return [block for block in made if block]

    def _lines(self, block: Piece) -> bytes:
        request, out = self._request, _Lines()
        records = scan(
            block, has_metadata=False, input_version=self._version, ts_out=request.ts_out
        )
        write_json(
            records,
            out,
            pretty_px=request.pretty_px,
            pretty_ts=request.pretty_ts,
            map_symbols=False,
            upgrade=False,
            threads=1,
        )
        return b"".join(out.parts)


class _Lines:
    # takes what is written

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: memoryview) -> None:
        self.parts.append(bytes(data))
