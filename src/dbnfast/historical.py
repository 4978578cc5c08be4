"""
`Historical`: the official client of the vendor's HTTP API, with stores and errors of this package.

Requests are made by the official client, which the extra ``historical`` brings. Only the answer
with records is received here: the official client would hold it twice for a moment.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import inspect
import io
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.atomic import replacing
from dbnfast._util.extras import require
from dbnfast.enums import HistoricalGateway
from dbnfast.errors import BentoClientError, BentoError, BentoHttpError, BentoServerError
from dbnfast.live.wire.auth import ApiKey
from dbnfast.store.store import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    from dbnfast.store.store import Store

EXTRA: Final = "historical"
CHUNK: Final = 1 << 16  # bytes of an answer that are received at a time


class Historical:
    """
    The official client of the vendor's HTTP API: historical data, metadata, symbols, batch jobs.

    ``client.timeseries.get_range`` and ``get_range_async`` return a `Store`. All else is as in
    ``databento.Historical``, whose documentation describes the requests.

    Parameters
    ----------
    key : str, optional
        The API key; None to take it from the environment's ``DATABENTO_API_KEY``.
    gateway : HistoricalGateway or str
        The server: a URL, of which the scheme is always ``https``.

    Attributes
    ----------
    batch, metadata, symbology, timeseries
        The requests, by topic.

    Raises
    ------
    MissingExtraError
        databento is not installed.
    TypeError, ValueError
        There is no key, or it or the gateway cannot be one.

    Notes
    -----
    Requests raise `BentoClientError` where the server refuses them, and `BentoServerError` where
    it fails. Where there is no connection, or no answer in time, the error is a `BentoError` and
    also that of the library which found it, such as ``requests.exceptions.ReadTimeout``. No
    message shows more of the key than its last five letters.
    """

    __module__ = "dbnfast"  # where users find it

    def __init__(
        self, key: str | None = None, gateway: HistoricalGateway | str = HistoricalGateway.BO1
    ) -> None:
        official = require("databento", EXTRA)
        self._key = ApiKey(key)
        client = official.Historical(key=self._key.secret, gateway=str(gateway))
        self._gateway = str(client.gateway)
        self.batch = _Requests(client.batch, self._key)
        self.metadata = _Requests(client.metadata, self._key)
        self.symbology = _Requests(client.symbology, self._key)
        timeseries = _timeseries()(key=self._key.secret, gateway=client.gateway)
        self.timeseries = _Requests(timeseries, self._key)

    @property
    def key(self) -> str:
        """The whole API key."""
        return self._key.secret

    @property
    def gateway(self) -> str:
        """The server's URL."""
        return self._gateway

    def __repr__(self) -> str:
        return f"<Historical(key={self._key!r}, gateway={self._gateway!r})>"


class _Requests:
    """Requests of one topic: those of the official client, with our stores and errors."""

    def __init__(self, official: Any, key: ApiKey) -> None:
        vars(self).update(_official=official, _key=key)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(vars(self)["_official"], name)
        return _ours(found, self._key) if inspect.ismethod(found) else found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._official, name, value)

    def __dir__(self) -> list[str]:
        return dir(self._official)

    def __repr__(self) -> str:
        return f"<{type(self._official).__name__} of Historical(key={self._key!r})>"


def _ours(request: Callable[..., Any], key: ApiKey) -> Callable[..., Any]:
    # a request that raises errors of this package

    @functools.wraps(request)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return _as_store(request(*args, **kwargs))
        except Exception as error:
            found = _translated(error, key)
            if found is None:
                raise
        raise found  # here, so that it has no context: what the libraries say may show the key

    @functools.wraps(request)
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        try:
            return _as_store(await request(*args, **kwargs))
        except Exception as error:
            found = _translated(error, key)
            if found is None:
                raise
        raise found

    return call_async if inspect.iscoroutinefunction(request) else call


def _as_store(found: Any) -> Any:
    # for releases of the official client that receive records in another way than `_stream`
    return read(found) if isinstance(found, require("databento", EXTRA).DBNStore) else found


# the answer with records


@functools.cache
def _timeseries() -> Any:
    official = require("databento.historical.api.timeseries", EXTRA).TimeseriesHttpAPI
    return type(
        official.__name__, (official,), {"_stream": _stream, "_stream_async": _stream_async}
    )


def _stream(
    self: Any, url: str, data: dict[str, Any], basic_auth: bool, path: Path | None = None
) -> Store:
    self._check_api_key()
    http, requests = _http(), require("requests", EXTRA)
    auth = requests.auth.HTTPBasicAuth(username=self._key, password="") if basic_auth else None
    timeout = (self.TIMEOUT, self.TIMEOUT)
    with requests.post(
        url=url, data=data, headers=self._headers, auth=auth, timeout=timeout, stream=True
    ) as response:
        http.check_backend_warnings(response)
        http.check_http_error(response)
        with _target(path) as out:
            for chunk in response.iter_content(chunk_size=CHUNK):
                out.write(chunk)
    return _received(path, out)


async def _stream_async(
    self: Any, url: str, data: dict[str, Any], basic_auth: bool, path: Path | None = None
) -> Store:
    self._check_api_key()
    http, aiohttp = _http(), require("aiohttp", EXTRA)
    headers = dict(self._headers)
    if basic_auth:
        given = base64.b64encode(f"{self._key}:".encode()).decode()
        headers["authorization"] = f"Basic {given}"
    # of each wait, as without asyncio: large answers take longer than that
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.TIMEOUT, sock_read=self.TIMEOUT)
    async with (
        aiohttp.ClientSession() as session,
        session.post(url=url, data=data, headers=headers, timeout=timeout) as response,
    ):
        http.check_backend_warnings(response)
        await http.check_http_error_async(response)
        with _target(path) as out:
            async for chunk in response.content.iter_chunked(CHUNK):
                out.write(chunk)
    return _received(path, out)


def _http() -> ModuleType:
    module: ModuleType = require("databento.common.http", EXTRA)
    return module


@contextlib.contextmanager
def _target(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield io.BytesIO()
    else:
        with replacing(path) as file:  # what is not complete does not appear
            yield file


def _received(path: Path | None, out: Any) -> Store:
    return read(out.getbuffer() if path is None else path)


# errors


def _translated(error: Exception, key: ApiKey) -> BentoError | None:
    official = require("databento", EXTRA)
    if isinstance(error, official.BentoHttpError):
        body = error.http_body
        if isinstance(body, bytes):
            body = body.decode("utf-8", "backslashreplace")
        made: BentoHttpError = _KINDS.get(type(error).__name__, BentoHttpError)(
            error.http_status, None if body is None else key.hide(body), None,
            None if error.message is None else key.hide(str(error.message)),
            require("requests.structures", EXTRA).CaseInsensitiveDict(error.headers),
        )  # fmt: skip
        made.json_body = error.json_body
        return made
    if isinstance(error, official.BentoError):
        return BentoError(key.hide(str(error)))
    lost = (
        require("requests", EXTRA).RequestException,
        require("aiohttp", EXTRA).ClientError,
        TimeoutError,
    )
    if not isinstance(error, lost) or isinstance(error, BentoError):
        return None
    text = key.hide(str(error)) or "the server did not answer in time"
    return _remade(type(error), text, vars(error))


_KINDS: Final = {one.__name__: one for one in (BentoClientError, BentoServerError)}


def _remade(kind: Any, text: str, attributes: dict[str, Any]) -> BentoError:
    # an error of another library as one of this package too
    cls = _both(kind)
    made: BentoError = cls.__new__(cls)
    made.args = (text,)
    vars(made).update(attributes)
    return made


@functools.cache
def _both(kind: type[Exception]) -> Any:
    bases: tuple[type, ...] = (BentoError, kind)
    if issubclass(kind, require("requests", EXTRA).Timeout):
        bases = (*bases, TimeoutError)  # theirs is none

    def reduce(self: Any) -> tuple[Any, ...]:
        return _remade, (kind, str(self), {})  # a response cannot be pickled

    members: dict[str, Any] = {
        "__doc__": kind.__doc__,
        "__module__": kind.__module__,
        "__reduce__": reduce,
    }
    return type(kind.__name__, bases, {**members, "__str__": lambda self: str(self.args[0])})
