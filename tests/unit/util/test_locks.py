"""A lock between processes ends with the one that holds it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dbnfast._util.locks import FileLock

HOLDER = """
import sys
from dbnfast._util.locks import FileLock
lock = FileLock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_one_has_it_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock(path)
    assert lock.held
    for _ in range(2):
        with pytest.raises(BlockingIOError) as caught:
            FileLock(path)
        assert caught.value.filename == str(path)
    other = FileLock(tmp_path / "other")
    lock.release()
    lock.release()
    assert not lock.held
    again = FileLock(path)
    again.release()
    other.release()
    assert list(tmp_path.iterdir()) == []


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(BlockingIOError):
            FileLock(path)
        holder.kill()
    assert path.exists()
    lock = FileLock(path)
    assert lock.held
    lock.release()


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be deleted")
def test_a_lock_whose_file_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock(path)
    path.unlink()
    assert not lock.held
    other = FileLock(path)
    lock.release()  # which leaves the other's file
    assert other.held
    with pytest.raises(BlockingIOError):
        FileLock(path)
    other.release()


@pytest.mark.skipif(sys.platform == "win32", reason="has no fcntl")
def test_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def flock(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    number = errno.ENOLCK
    FileLock(tmp_path / "lock").release()
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        FileLock(tmp_path / "lock")
