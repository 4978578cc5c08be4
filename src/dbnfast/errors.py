"""
The errors of the package.

::

    DbnError(Exception)                        also named BentoError
    |- DecodeError(DbnError, ValueError)      .offset .record_index .path
    |  |- TruncatedError                      .needed .available .good
    |  |- InvalidRecordError                  .length .rtype .good
    |  |- MixedRecordsError                   .counts
    |  |- DecompressionError                  .good
    |  |- MetadataError
    |     |- UnsupportedVersionError          .version
    |- EncodeError(DbnError, ValueError)      .record_index
    |- UnknownNameError(DbnError, ValueError) no such schema, symbology type or other member
    |- LiveError(DbnError)
    |  |- LocalProtocolError                  what this side may not do now
    |  |- RemoteProtocolError                 what the other side sent is not the protocol
    |  |- AuthenticationError                 the gateway refused the key, or the session
    |  |- GatewayError                        .code .message: a fatal error record
    |  |- ConnectError(ConnectionError)       no connection, or none in time
    |  |- SessionClosed(ConnectionError)      the connection ended
    |  |- HeartbeatTimeout(TimeoutError)      silence for too long
    |- BentoHttpError                         .http_status .message .request_id ...
       |- BentoClientError                    the server refused a request: status 4xx
       |- BentoServerError                    the server failed: status 5xx

Misuse by the caller is a plain ``TypeError`` or ``ValueError``. A message says what, where,
what was expected and what was found; every number in it is an attribute too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbnfast.records.records import Records


class DbnError(Exception):
    """The base of all errors of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[DbnError], args: tuple[Any, ...], attributes: dict[str, Any]) -> DbnError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


BentoError = DbnError  # its name in programs that were written for databento


class DecodeError(DbnError, ValueError):
    """
    Input that is not valid DBN.

    Attributes
    ----------
    offset : int or None
        Byte offset of the damage from the first byte of the (decompressed) stream.
    record_index : int or None
        Index of the damaged record, counted from 0.
    path : str or None
        The file, which the message begins with; None for memory and streams.
    """

    def __init__(
        self, message: str, *, offset: int | None = None, record_index: int | None = None
    ) -> None:
        super().__init__(message)
        self.offset = offset
        self.record_index = record_index
        self.path: str | None = None


class TruncatedError(DecodeError):
    """
    Input that ends too early.

    Attributes
    ----------
    needed : int or None
        Bytes that the unit at `offset` needs, where that is known.
    available : int or None
        Bytes that are there from `offset` on.
    good : Records or None
        The records before the cut, where `scan` was told to raise; None where there are none,
        or they were handed out already.
    """

    def __init__(
        self,
        message: str,
        *,
        offset: int | None = None,
        record_index: int | None = None,
        needed: int | None = None,
        available: int | None = None,
        good: Records | None = None,
    ) -> None:
        super().__init__(message, offset=offset, record_index=record_index)
        self.needed = needed
        self.available = available
        self.good = good


class InvalidRecordError(DecodeError):
    """
    A record whose header cannot be true.

    Attributes
    ----------
    length : int or None
        The record's size in bytes, as its header says.
    rtype : int or None
        The record type, as its header says.
    good : Records or None
        The records before the damage; None where they were handed out already.
    """

    def __init__(
        self,
        message: str,
        *,
        offset: int | None = None,
        record_index: int | None = None,
        length: int | None = None,
        rtype: int | None = None,
        good: Records | None = None,
    ) -> None:
        super().__init__(message, offset=offset, record_index=record_index)
        self.length = length
        self.rtype = rtype
        self.good = good


class MixedRecordsError(DecodeError):
    """
    Records of several types, or of a type without a layout, where one array was asked for.

    Attributes
    ----------
    counts : dict
        Number of records by rtype.
    """

    def __init__(self, message: str, *, counts: Mapping[int, int]) -> None:
        super().__init__(message)
        self.counts = dict(counts)


class DecompressionError(DecodeError):
    """
    Damaged compressed data.

    Attributes
    ----------
    offset : int or None
        Byte offset in the compressed input of the frame that is damaged.
    good : Records or None
        The records that were complete before the damage; None where they were handed out
        already. A frame's checksum covers the whole frame: the headers of the records were
        checked, but those that come from the damaged frame may have wrong values.
    """

    def __init__(
        self, message: str, *, offset: int | None = None, good: Records | None = None
    ) -> None:
        super().__init__(message, offset=offset)
        self.good = good


class MetadataError(DecodeError):
    """A metadata header that is not valid."""


class UnsupportedVersionError(MetadataError):
    """
    A DBN version that this package does not know.

    Attributes
    ----------
    version : int
        The version byte.
    """

    def __init__(self, message: str, *, version: int, offset: int | None = None) -> None:
        super().__init__(message, offset=offset)
        self.version = version


class EncodeError(DbnError, ValueError):
    """
    Records or metadata that cannot be written as they are.

    Attributes
    ----------
    record_index : int or None
        Index of the record at fault, counted from 0.
    """

    def __init__(self, message: str, *, record_index: int | None = None) -> None:
        super().__init__(message)
        self.record_index = record_index


class UnknownNameError(DbnError, ValueError):
    """A name or code that an enumeration does not have, such as a misspelt schema."""


class LiveError(DbnError):
    """The base of the errors of a live session; none shows more than a key's last five letters."""


class LocalProtocolError(LiveError):
    """What was asked of the session is not possible in its present state."""


class RemoteProtocolError(LiveError):
    """What the other side sent is not what the protocol says."""


class AuthenticationError(LiveError):
    """The gateway refused the session: a wrong key, no licence, too many connections."""


class GatewayError(LiveError):
    """
    The gateway ended the session with an error record.

    Attributes
    ----------
    code : ErrorCode or int
        What it reports.
    message : str
        In the gateway's words.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(f"the gateway ended the session with error {code!s}: {message}")
        self.code = code
        self.message = message


class ConnectError(LiveError, ConnectionError):
    """No connection could be made, or authentication took too long."""


class SessionClosed(LiveError, ConnectionError):
    """The connection ended and the session does not reconnect."""


class HeartbeatTimeout(LiveError, TimeoutError):
    """Nothing came for longer than the interval of heartbeats and a margin."""


class BentoHttpError(DbnError):
    """
    A request that the vendor's server did not answer with what was asked for.

    Attributes
    ----------
    http_status : int
        The status of the answer.
    http_body : str or None
        What came with it.
    json_body : dict or None
        The same, read as JSON.
    message : str or None
        The server's words: the case, what is wrong, and where it is documented.
    headers : mapping
        Of the answer.
    request_id : str or None
        How the vendor finds the request.
    """

    def __init__(
        self,
        http_status: int,
        http_body: bytes | str | None = None,
        json_body: dict[str, Any] | None = None,
        message: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(http_body, bytes):
            http_body = http_body.decode("utf-8", "backslashreplace")
        detail = json_body.get("detail") if isinstance(json_body, dict) else None
        if isinstance(detail, dict) and {"case", "message", "docs"} <= detail.keys():
            message = f"{detail['case']}\n{detail['message']}"
            if detail["docs"]:
                message += f"\ndocumentation: {detail['docs']}"
        super().__init__(message)
        self.http_status = http_status
        self.http_body = http_body
        self.json_body = json_body
        self.message = message
        self.headers: Mapping[str, Any] = {} if headers is None else headers
        self.request_id: str | None = self.headers.get("request-id")

    def __repr__(self) -> str:
        names = ("request_id", "http_status", "message")
        said = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"{type(self).__name__}({said})"

    def __str__(self) -> str:
        said = f"{self.http_status} {self.message or '<empty message>'}"
        return said if self.request_id is None else f"Request {self.request_id}: {said}"


class BentoClientError(BentoHttpError):
    """The server refused a request: status 400 to 499, such as 401 for a wrong key."""


class BentoServerError(BentoHttpError):
    """The server failed: status 500 to 599."""


class MissingExtraError(DbnError, ImportError):
    """
    An optional library is not installed.

    Attributes
    ----------
    extra : str
        The extra that brings it.
    """

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed; it comes with the extra: pip install 'dbnfast[{extra}]'"
        )
        self.extra = extra


class BentoWarning(Warning):
    """The base of the warnings of this package."""


class SelectionWarning(BentoWarning, UserWarning):
    """What was asked for is not in the data, or records of another schema have its rtype."""


class TruncatedWarning(BentoWarning, UserWarning):
    """Input ended inside a record or a compressed frame; what was complete was delivered."""
