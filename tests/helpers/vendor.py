"""A server of historical data on the loopback, over TLS as the client insists on."""

from __future__ import annotations

import base64
import http.server
import io
import json
import shutil
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

KEY = "db-0123456789abcdefghijklmnopqrs"
CASE = {
    "case": "auth_authentication_failed",
    "message": "Authentication failed.",
    "docs": "https://d",
}


class Vendor:
    """
    What the server gives.

    Parameters
    ----------
    url : str
        Where it is.
    certificate : Path
        What it shows.
    data : bytes
        The answer to every request of records.
    files : dict
        Of the batch job ``JOB-1``, by name.
    """

    def __init__(self, url: str, certificate: Path, data: bytes, files: dict[str, bytes]) -> None:
        self.url = url
        self.data = data
        self.files = files
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()  # what `stalls` asks for waits for this
        self.stalls = self.cuts = False
        # what both clients' libraries read, and nothing else of a proxy
        self.environment = {
            "REQUESTS_CA_BUNDLE": str(certificate),
            "SSL_CERT_FILE": str(certificate),
            "NO_PROXY": "127.0.0.1",
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vendor: Vendor

    def log_message(self, *args: Any) -> None: ...

    def do_GET(self) -> None:
        self.answer({k: v[-1] for k, v in parse_qs(urlsplit(self.path).query).items()})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({k: v[-1] for k, v in parse_qs(body.decode()).items()})

    def answer(self, fields: dict[str, str]) -> None:
        vendor, path = self.vendor, urlsplit(self.path).path.removeprefix("/v0/")
        vendor.requests.append((path, fields))
        given = self.headers.get("Authorization", "")
        if given != "Basic " + base64.b64encode(f"{KEY}:".encode()).decode():
            self.send(401, json.dumps({"detail": CASE}).encode(), request_id="R1")
        elif path == "timeseries.get_range":
            self.records(fields)
        elif path == "metadata.list_datasets":
            self.send(200, b'["GLBX.MDP3", "XNAS.ITCH"]')
        elif path == "metadata.get_cost":
            self.send(200, b"1.25")
        elif path == "symbology.resolve":
            self.send(200, json.dumps({"result": {}, "symbols": [fields["symbols"]]}).encode())
        elif path == "batch.submit_job":
            self.send(200, json.dumps({"id": "JOB-1", **fields}).encode())
        elif path == "batch.list_files":
            listed = [
                {
                    "filename": name, "size": len(data), "hash": "none:0",
                    "urls": {"https": f"{vendor.url}/v0/batch/{name}"},
                }
                for name, data in vendor.files.items()
            ]  # fmt: skip
            self.send(200, json.dumps(listed).encode())
        elif path == "batch.download":
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                for name, data in vendor.files.items():
                    archive.writestr(name, data)
            self.send(200, packed.getvalue())
        elif path.startswith("batch/"):
            self.send(200, vendor.files[path.removeprefix("batch/")])
        else:
            self.send(500, b"<html>no such thing</html>")

    def records(self, fields: dict[str, str]) -> None:
        vendor = self.vendor
        if fields["dataset"] == "NO.SUCH":
            text = json.dumps({"detail": f"dataset is unknown to {KEY}"}).encode()
            self.send(422, text)
        elif vendor.stalls:
            vendor.released.wait(60)
            self.close_connection = True
        else:
            self.send(200, vendor.data, len(vendor.data) // 2 if vendor.cuts else None)

    def send(
        self, status: int, body: bytes, n: int | None = None, *, request_id: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        if request_id is not None:
            self.send_header("request-id", request_id)
        self.end_headers()
        self.wfile.write(body[:n])
        self.close_connection = n is not None


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 and its key, for two days."""
    command = shutil.which("openssl")
    if command is None:
        pytest.skip("openssl is not here to make a certificate")
    shown, secret = folder / "certificate.pem", folder / "secret.pem"
    subprocess.run(
        [
            command, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(secret),
            "-out", str(shown),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return shown, secret


@contextmanager
def vendor(folder: Path, data: bytes, files: dict[str, bytes] | None = None) -> Iterator[Vendor]:
    """Run a server until the block ends."""
    shown, secret = certificate(folder)
    handler = type("Handler", (_Handler,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, secret)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://127.0.0.1:{server.server_address[1]}"
    handler.vendor = made = Vendor(url, shown, data, files or {})
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
