"""
DBN files in zip files, as the vendor's portal gives them.

Members that are stored as they are, which compressed files are, are read in place. What is
compressed once more is read from its beginning each time, in bounded memory.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, cast

from dbnfast._util.ranges import HEAD, Ranged
from dbnfast.codec.damage import name_file
from dbnfast.errors import DecompressionError
from dbnfast.store.remote import base_name
from dbnfast.store.sources import Source, is_dbn_name

if TYPE_CHECKING:
    from zipfile import ZipInfo

    from dbnfast.codec.index import Index
    from dbnfast.codec.options import OnTruncated, Span

LOCAL_HEADER: Final = 30  # bytes in front of a member, its name and extra field not counted
LOCAL_MAGIC: Final = b"PK\3\4"
ENCRYPTED: Final = 1  # a flag
STORED: Final = 0  # how a member is compressed
DEFLATED: Final = 8
EXTRA: Final = 1 << 10  # bytes that an extra field has at most, as a rule
PIECE: Final = 256 << 10  # compressed bytes in a step


@dataclass(frozen=True)
class Deflated:
    """
    A member that is compressed.

    Attributes
    ----------
    data : Ranged
        Its compressed bytes.
    name : str
        For messages.
    size : int
        Plain bytes.
    checksum : int
        Of the plain bytes.
    """

    data: Ranged
    name: str
    size: int
    checksum: int

    def check(self, **options: Any) -> None:
        """
        See that the zip file is what it was.

        Parameters
        ----------
        **options
            As `Ranged.check` takes them.
        """
        self.data.check(**options)

    def open(self) -> Inflated:
        """
        Open the member.

        Returns
        -------
        Inflated
        """
        return Inflated(self)


class Inflated(io.RawIOBase):
    """
    The plain bytes of a member.

    Parameters
    ----------
    member : Deflated
        The member.
    """

    def __init__(self, member: Deflated) -> None:
        self._member = member
        self._begin()

    def _begin(self) -> None:
        self._file = self._member.data.open([(0, self._member.data.size)])
        self._inflater: Any = zlib.decompressobj(-zlib.MAX_WBITS)
        self._input = b""
        self._at = self._checksum = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that one can go to another place, though it takes its time."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """
        Go to another place; to one before, from the beginning again.

        Parameters
        ----------
        offset, whence : int
            As `io.IOBase.seek` takes them.

        Returns
        -------
        int
            Where that is.
        """
        place = max((0, self._at, self._member.size)[whence] + offset, 0)
        if place < self._at:
            self._file.close()
            self._begin()
        while self._at < place and self.read(min(place - self._at, PIECE)):
            pass
        return self._at

    def readinto(self, out: Any) -> int:
        """
        Read some bytes.

        Parameters
        ----------
        out : writable buffer
            Where to.

        Returns
        -------
        int
            How many came; 0 at the end.
        """
        view = memoryview(out).cast("B")
        while len(view) and not self._inflater.eof:
            if not self._input:
                self._input = self._file.read(PIECE) or b""
            try:
                data = self._inflater.decompress(self._input, len(view))
            except zlib.error as error:
                raise self._damaged(str(error)) from error
            if not data and not self._input and not self._inflater.eof:
                raise self._damaged("its compressed data ends too early")
            self._input = self._inflater.unconsumed_tail
            self._checksum = zlib.crc32(data, self._checksum)
            self._at += len(data)
            if self._inflater.eof:
                self._end()
            if data:
                view[: len(data)] = data
                return len(data)
        return 0

    def _end(self) -> None:
        if self._at != self._member.size:
            raise self._damaged(f"it has {self._at:,} bytes, expected {self._member.size:,}")
        if self._checksum != self._member.checksum:
            raise self._damaged(
                f"its checksum is {self._checksum:#010x}, expected {self._member.checksum:#010x}"
            )

    def _damaged(self, text: str) -> DecompressionError:
        error = DecompressionError(f"the member is damaged at byte {self._at:,}: {text}")
        name_file(error, self._member.name)
        return error

    def close(self) -> None:
        """Close the zip file."""
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()
        super().close()


class DeflatedSource(Source):
    """
    A member that is compressed.

    Parameters
    ----------
    file : Deflated
        The member.
    on_truncated : str
        As `scan` takes it.

    Attributes
    ----------
    file : Deflated
        As given.
    """

    is_file = True
    is_far = True
    is_sought = False

    def __init__(self, file: Deflated, on_truncated: OnTruncated = "warn") -> None:
        self.file = file
        super().__init__(file.name, on_truncated)

    @property
    def nbytes(self) -> int:
        """Bytes of the member, out of the zip file."""
        return self.file.size

    def open(self) -> IO[bytes]:
        """Open the member."""
        self.file.check()
        return cast("IO[bytes]", self.file.open())

    def buffer(self) -> bytes:
        """Read the whole member."""
        with self.open() as file:
            return file.read()

    def span(self, wanted: dict[str, Any], trusted: bool) -> Span | None:
        """
        Search nothing: what is found can only be read from the beginning.

        Parameters
        ----------
        wanted, trusted
            As `Source.span` takes them.

        Returns
        -------
        None
        """
        return None

    def _read_index(self) -> Index | None:
        return None


def members_of(outer: Ranged, names: set[str] | None = None) -> list[Ranged | Deflated]:
    """
    Find the DBN files in a zip file.

    Parameters
    ----------
    outer : Ranged
        The zip file.
    names : set of str, optional
        The members that are wanted; None for all that are DBN files by their names.

    Returns
    -------
    list of Ranged or Deflated
        By name. None where there are none.

    Raises
    ------
    DecompressionError
        It is no zip file, is damaged, or is encrypted.
    OSError
        It cannot be read.
    """
    import zipfile  # with it come all kinds of compression

    try:
        with (
            io.BufferedReader(outer.open(ahead=False)) as file,
            zipfile.ZipFile(cast("IO[bytes]", file)) as archive,
        ):
            found = [info for info in archive.infolist() if _is_wanted(info, names)]
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise _refused(outer, f"this is no zip file, or a damaged one: {error}") from error
    return [_member(outer, info) for info in sorted(found, key=lambda info: info.filename)]


def _is_wanted(info: ZipInfo, names: set[str] | None) -> bool:
    if info.is_dir():
        return False
    return is_dbn_name(base_name(info.filename)) if names is None else info.filename in names


def _member(outer: Ranged, info: ZipInfo) -> Ranged | Deflated:
    if info.flag_bits & ENCRYPTED:
        raise _refused(outer, f"{info.filename} is encrypted: unpack it with its password first")
    name = f"zip://{info.filename}::{outer.name}"
    at = info.header_offset
    n_most = LOCAL_HEADER + len(info.filename.encode()) + EXTRA + HEAD
    found = outer.fetch(at, at + n_most)
    if found[:4] != LOCAL_MAGIC or len(found) < LOCAL_HEADER:
        raise _refused(outer, f"there is no member at byte {at:,}, where {info.filename} should be")
    n_name, n_extra = int.from_bytes(found[26:28], "little"), int.from_bytes(found[28:30], "little")
    n_before = LOCAL_HEADER + n_name + n_extra
    begin, size = at + n_before, info.compress_size
    if begin + size > outer.size:
        raise _refused(outer, f"{info.filename} would end at byte {begin + size:,}, behind the end")
    part = outer.part(name, begin, size, found[n_before:])
    if info.compress_type == STORED:
        return part
    if info.compress_type != DEFLATED:
        text = f"{info.filename} is compressed by method {info.compress_type}, expected 0 or 8"
        raise _refused(outer, text)
    return Deflated(part, name, info.file_size, info.CRC)


def _refused(outer: Ranged, text: str) -> DecompressionError:
    error = DecompressionError(text)
    name_file(error, outer.name)
    return error
