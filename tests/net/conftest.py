"""What the tests of sessions over sockets share."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from dbnfast.live.session import retry


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Retries without the wait; afterwards no thread of a session is left."""
    monkeypatch.setattr(retry, "FIRST_RETRY", 0.02)
    monkeypatch.setattr(retry, "SPACING", 0.01)
    before = set(threading.enumerate())
    yield
    end = time.monotonic() + 10
    while left := [
        thread
        for thread in set(threading.enumerate()) - before
        if thread.name.startswith("dbnfast")
    ]:
        assert time.monotonic() < end, left
        gc.collect()
        time.sleep(0.01)
