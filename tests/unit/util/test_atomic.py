"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dbnfast._util.atomic import output


class Broken(Exception):
    """Whatever may go wrong while a file is written."""


def fail_after(out: Any, error: type[BaseException]) -> None:
    out.write(b"half")
    raise error


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    with output(path) as out:
        out.write(b"one")
        assert not path.exists()
        out.write(memoryview(b"two"))
    assert path.read_bytes() == b"onetwo"
    assert list(tmp_path.iterdir()) == [path]
    with output(str(path)) as out:
        out.write(b"three")
        assert path.read_bytes() == b"onetwo"
    assert path.read_bytes() == b"three"


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, GeneratorExit])
def test_a_failure_leaves_all_as_it_was(
    tmp_path: Path, there: bool, error: type[BaseException]
) -> None:
    path = tmp_path / "out.bin"
    if there:
        path.write_bytes(b"before")
    with pytest.raises(error), output(path) as out:
        fail_after(out, error)
    assert list(tmp_path.iterdir()) == [path] * there
    if there:
        assert path.read_bytes() == b"before"


def test_mode_x(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    with output(path, "x") as out:
        out.write(b"first")
    with pytest.raises(FileExistsError, match=r"out\.bin"), output(path, "x"):
        pass
    assert path.read_bytes() == b"first"


def test_mode_x_where_somebody_else_is_quicker(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    with pytest.raises(FileExistsError), output(path, "x"):
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", ["a", "r", "wb", "", None])
def test_other_modes_are_refused(tmp_path: Path, mode: Any) -> None:
    with pytest.raises(ValueError, match="expected 'w' or 'x'"), output(tmp_path / "a", mode):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), output(tmp_path):
        pass
    with pytest.raises(FileNotFoundError), output(tmp_path / "no" / "such" / "folder"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", [None, 5, b"bytes", io.StringIO(), ["a"]])
def test_what_is_neither_a_path_nor_writable(target: Any) -> None:
    with pytest.raises(TypeError), output(target):
        pass


class Little(io.RawIOBase):
    """A raw file that takes few bytes at a time."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data[:7])
        self.taken += part
        return len(part)


class Silent:
    """An object of somebody's own that takes all and says nothing."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data: Any) -> None:
        self.taken += data


@pytest.mark.parametrize("target", [Little(), Silent()], ids=["little", "silent"])
def test_a_writable_takes_all(target: Any) -> None:
    with output(target) as out:
        assert out.write(b"more than it takes at a time") == 28
        assert out.write(b"") == 0
    assert target.taken == b"more than it takes at a time"


@pytest.mark.parametrize("written", [0, -1, 2, "1"])
def test_a_writable_that_takes_what_cannot_be(written: Any) -> None:
    target = SimpleNamespace(write=lambda _: written)
    with pytest.raises(OSError, match="of 1 bytes"), output(target) as out:
        out.write(b"x")


def test_a_writable_that_would_block_is_an_error() -> None:
    class Full(Little):
        def write(self, data: Any) -> Any:
            return None

    with pytest.raises(BlockingIOError, match="takes no bytes now"), output(Full()) as out:
        out.write(b"x")


def test_a_writable_is_left_open(tmp_path: Path) -> None:
    memory = io.BytesIO()
    with output(memory) as out:
        out.write(b"x")
    out.close()
    assert not memory.closed
    with pytest.raises(Broken), output(memory) as out:
        raise Broken
    assert not memory.closed
    with (
        (tmp_path / "t.txt").open("w") as file,
        pytest.raises(TypeError, match="text"),
        output(file),
    ):
        pass


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "out.bin", tmp_path / "link.bin"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with output(link) as out:
        out.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [entry.name for entry in (tmp_path / "real").iterdir()] == ["out.bin"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_that_is_replaced_keeps_its_permissions(
    tmp_path: Path, mode: int, linked: bool
) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    target.chmod(mode)
    name = target
    if linked:
        name = tmp_path / "link.bin"
        name.symlink_to(target)
    with output(name) as out:
        out.write(b"new")
        (part,) = tmp_path.glob(".dbnfast-*")
        assert stat.S_IMODE(part.stat().st_mode) == mode | stat.S_IWUSR  # before it is whole too
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert target.read_bytes() == b"new"


def test_a_link_to_a_pipe_without_a_path_is_written_directly(tmp_path: Path) -> None:
    # as /dev/stdout and what bash gives for >(command) are
    read_end, write_end = os.pipe()
    link = tmp_path / "link"
    link.symlink_to(f"/dev/fd/{write_end}")
    for name in (f"/dev/fd/{write_end}", link):
        with output(name) as out:
            out.write(b"through")
        assert os.read(read_end, 100) == b"through"
    os.close(read_end)
    os.close(write_end)
    assert list(tmp_path.iterdir()) == [link]


def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    with output(path) as out:
        out.write(b"through the pipe")
    reader.join()
    assert found == [b"through the pipe"]
    assert stat.S_ISFIFO(path.stat().st_mode)
    with output("/dev/null") as out:
        out.write(b"nowhere")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("n", [1, 1 << 20], ids=["when it is closed", "at once"])
def test_a_full_disk_is_told_of_the_output(n: int) -> None:
    with (
        pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as raised,
        output("/dev/full") as out,
    ):
        out.write(bytes(n))
    assert raised.value.filename == "/dev/full"


def test_errors_never_name_the_file_that_is_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.bin"

    def fail(one: Any, two: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(one), None, str(two))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as raised, output(path) as out:
        out.write(b"whole")
    assert (raised.value.filename, raised.value.filename2) == (str(path), None)
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "no folder" / "out.bin"
    with pytest.raises(FileNotFoundError) as missing, output(path):
        pass
    assert missing.value.filename == str(path)
