"""Streams that take a part, or nothing, of what they are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast import Records
from dbnfast.live.sinks import Sinks, StreamSink
from helpers import streams

resource = pytest.importorskip("resource")

HEAD = streams.header(schema=None)


def trades(first: int, n: int) -> Records:
    return dbnfast.scan(HEAD + b"".join(streams.trade(first + i) for i in range(n)))


@pytest.fixture
def limit() -> Iterator[Any]:
    """Sets how long a file may be; the system tells of longer ones by an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda n: resource.setrlimit(
        resource.RLIMIT_FSIZE, (before[0] if n is None else n, before[1])
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [60, 128, 500])
def test_a_file_that_could_not_be_written_for_a_while_can_be_read(
    room: int, limit: Any, tmp_path: Path
) -> None:
    path, errors = tmp_path / "out.dbn", []
    sinks = Sinks()
    sinks.streams.append(StreamSink(path, errors.append))
    batches = [trades(0, 4), trades(4, 20), trades(24, 3)]
    for n, batch in enumerate(batches):
        limit(room if n < 2 else None)
        sinks.dispatch(batch, batch.metadata)
    limit(None)
    sinks.finish(batches[0].metadata)
    assert errors
    assert all(isinstance(error, OSError) for error in errors)
    kept = [batches[0], batches[2]] if room == 500 else [batches[2]]
    found = dbnfast.scan(path.read_bytes(), on_truncated="raise")
    assert found.tobytes() == b"".join(batch.tobytes() for batch in kept)


def test_a_path_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    sinks = Sinks()
    sinks.streams.append(StreamSink("~/out.dbn"))
    batch = trades(0, 4)
    sinks.dispatch(batch, batch.metadata)
    sinks.finish(batch.metadata)
    assert dbnfast.scan((tmp_path / "out.dbn").read_bytes()).tobytes() == batch.tobytes()


def test_a_stream_that_takes_nothing_is_an_error_and_no_hang() -> None:
    class Stuck:
        def write(self, data: Any) -> int:
            return 0

    errors: list[Exception] = []
    sink = StreamSink(Stuck(), errors.append)  # type: ignore[arg-type]
    sink.dispatch(trades(0, 1))
    assert [str(error) for error in errors] == ["write() took 0 of 48 bytes"]
