"""A small web server that has files, counts what is asked of it, and fails as it is told to."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """What was asked for."""

    method: str
    path: str
    start: int
    stop: int


class Web:
    """
    A web server on the loopback.

    `faults` has for a path what happens to it: ``"no ranges"`` sends all of it whatever is asked
    for, ``"cut"`` closes half way, ``"no length"`` says no size, ``"500"`` fails; or a callable
    that takes the range and gives one of them, or None.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, str | Callable[[int, int], str | None]] = {}
        self.asked: list[Asked] = []
        self.etags: dict[str, str] = {}
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

            def do_HEAD(self) -> None:
                web.answer(self)

            def do_GET(self) -> None:
                web.answer(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """Clients may go whenever they like."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def n_bytes(self) -> int:
        """Bytes that were asked for."""
        return sum(one.stop - one.start for one in self.asked if one.method == "GET")

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Of all requests but those for a header alone."""
        return [(one.start, one.stop) for one in self.asked if one.method == "GET"]

    def answer(self, request: Any) -> None:
        path = request.path.partition("?")[0]
        data = self.files.get(path)
        if data is None:
            self._send(request, 404, b"")
            return
        start, stop, status = 0, len(data), 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        if asked is not None:
            start, stop, status = int(asked[1]), min(int(asked[2]) + 1, len(data)), 206
        self.asked.append(Asked(request.command, path, start, stop))
        fault = self.faults.get(path)
        if callable(fault):
            fault = fault(start, stop) if request.command == "GET" else None
        if fault == "500":
            self._send(request, 500, b"")
            return
        if fault == "no ranges":
            start, stop, status = 0, len(data), 200
        if fault == "no length":
            request.send_response(200)
            request.send_header("Connection", "close")
            request.end_headers()
            if request.command == "GET":
                request.wfile.write(data)
            request.close_connection = True
            return
        headers = {"ETag": self.etags.get(path, f'"{hash(data)}"')}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        body = data[start:stop]
        self._send(request, status, body, headers, cut=fault == "cut")

    @staticmethod
    def _send(
        request: Any,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        cut: bool = False,
    ) -> None:
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "HEAD":
            return
        request.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            request.close_connection = True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving_files() -> Iterator[Web]:
    web = Web()
    try:
        yield web
    finally:
        web.close()
