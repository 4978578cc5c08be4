"""
An object store for a measurement, in a process of its own.

``FOLDER LATENCY RATE`` serves the files of a folder as those of a bucket, prints its port and ends
with its standard input. LATENCY is seconds before each answer, RATE the bytes that a connection
gets in a second. It knows what reading needs of S3: HEAD, and GET with a range.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

SLICE = 256 << 10  # bytes that are sent at once


class Server:
    """Answers requests, each connection at a rate of its own."""

    def __init__(self, folder: Path, latency: float, rate: float) -> None:
        self.folder, self.latency, self.rate = folder, latency, rate

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection until it ends."""
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                await asyncio.sleep(self.latency)
                await self.answer(head, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client is done, or the measurement
        finally:
            writer.close()

    async def answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        method, target, _ = head.split(" ", 2)
        path = self.folder / unquote(urlsplit(target).path).strip("/").partition("/")[2]
        if not path.is_file():
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        size = path.stat().st_size
        found = re.search(r"^range: bytes=(\d+)-(\d*)", head, re.MULTILINE | re.IGNORECASE)
        start, stop = 0, size
        if found:
            start, stop = int(found[1]), min(int(found[2] or size) + 1, size)
        lines = [
            "HTTP/1.1 206 Partial Content" if found else "HTTP/1.1 200 OK",
            f"Content-Length: {stop - start}",
            'ETag: "1"',
            "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
            "Accept-Ranges: bytes",
        ]
        if found:
            lines.append(f"Content-Range: bytes {start}-{stop - 1}/{size}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        with path.open("rb") as file:
            file.seek(start)
            while method == "GET" and sent < stop - start:
                part = file.read(min(SLICE, stop - start - sent))
                writer.write(part)
                await writer.drain()
                sent += len(part)
                early = sent / self.rate - (loop.time() - began)
                if early > 0.001:
                    await asyncio.sleep(early)
        await writer.drain()


async def serve(folder: Path, latency: float, rate: float) -> None:
    """Serve until standard input ends."""
    server = await asyncio.start_server(Server(folder, latency, rate).talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
