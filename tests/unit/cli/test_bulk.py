"""``dbnfast convert`` into a folder: each input once, whatever happens in between."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from helpers.places import SAMPLE

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("fsspec")

import fsspec

from dbnfast.__main__ import main
from dbnfast._util.locks import FileLock
from dbnfast.cli.outputs import Progress
from dbnfast.cli.pool import results

Out = pytest.CaptureFixture[str]
PATIENCE = 60  # s: so that a mistake ends a test


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Three copies of the sample."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.dbn.zst", "b.dbn.zst"):
        shutil.copy(SAMPLE, folder / name)
    dbnfast.read(SAMPLE).to_file(folder / "c.dbn", compression="none")
    return folder


def convert(*args: Any) -> int:
    return main(["convert", *map(str, args)])


def files_in(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith(".dbnfast/"))


def states(folder: Path) -> dict[str, Any]:
    return {name: os.stat(folder / name).st_mtime_ns for name in files_in(folder)}


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("n", [1, 2])
def test_each_input_becomes_a_file(days: Path, tmp_path: Path, capsys: Out, n: int) -> None:
    out = tmp_path / "out"
    args = (days, out, "--to", "csv", "--schema", "trades", "--jobs", n)
    assert convert(*args) == 0
    said = capsys.readouterr().err.splitlines()
    assert sorted(said) == [f"dbnfast: {out / name}.csv: 581 records" for name in "abc"]
    assert files_in(out) == ["a.csv", "b.csv", "c.csv"]
    wanted = io.BytesIO()
    dbnfast.read(SAMPLE).to_csv(wanted, schema="trades")
    assert {(out / name).read_bytes() for name in files_in(out)} == {wanted.getvalue()}

    before = states(out)
    assert convert(*args) == 0
    assert capsys.readouterr().err == f"dbnfast: {out}: 3 files of 3 done before\n"
    assert states(out) == before


def test_several_inputs_and_patterns(days: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    assert convert(days / "*.zst", days / "c.dbn", days / "c.dbn", out, "--to", "json") == 0
    assert files_in(out) == ["a.json", "b.json", "c.json"]
    assert convert(days / "a.dbn.zst", out, "--to", "dbn", "--zstd", "--schema", "mbo") == 0
    assert dbnfast.read(out / "a.dbn.zst").counts == {dbnfast.RType.MBO: 1500}
    assert convert(out / "a.json", f"{tmp_path}/text/", "--to", "csv", "--schema", "trades") == 0
    assert files_in(tmp_path / "text") == ["a.csv"]


def test_what_changed_is_done_again(days: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    args = (days, out, "--to", "csv", "--schema", "trades")
    assert convert(*args) == 0
    before = states(out)
    dbnfast.read(SAMPLE).filter("trades").to_file(days / "c.dbn", compression="none")
    (out / "b.csv").unlink()
    capsys.readouterr()
    assert convert(*args) == 0
    assert "1 file of 3 done before" in capsys.readouterr().err
    after = states(out)
    assert {name for name in before if before[name] != after[name]} == {"b.csv", "c.csv"}

    assert convert(*args, "--raw-prices") == 2
    assert "a.csv was made with other options; --force" in capsys.readouterr().err
    assert states(out) == after
    assert convert(*args, "--raw-prices", "--force") == 0
    assert len({(out / name).read_bytes() for name in files_in(out)}) == 1
    assert b"57820000000" in (out / "a.csv").read_bytes()


def test_an_error_stops_no_other(days: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    (days / "b.dbn.zst").write_bytes(b"nonsense")
    damaged = bytearray((days / "c.dbn").read_bytes())
    damaged[-300:] = bytes(300)
    (days / "c.dbn").write_bytes(damaged)
    args = (days, out, "--to", "csv", "--schema", "trades")
    assert convert(*args, "-j", 2) == 1
    *_, heading, first, second = capsys.readouterr().err.splitlines()
    assert heading == f"dbnfast: {out}: 2 inputs of 3 failed:"
    assert {line.partition(": ")[2][: len(str(days)) + 2] for line in (first, second)} == {
        str(days / "b"), str(days / "c")
    }  # fmt: skip
    assert files_in(out) == ["a.csv"]
    for name in ("b.dbn.zst", "c.dbn"):
        shutil.copy(SAMPLE, days / name)
    assert convert(*args) == 0
    assert files_in(out) == ["a.csv", "b.csv", "c.csv"]


def test_an_input_that_is_missing_stops_no_other(days: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    to = (out, "--to", "csv", "--schema", "trades")
    nothing, pattern = tmp_path / "no.dbn", tmp_path / "no*.dbn"
    for missing in ((nothing, nothing.with_name("no too.dbn")), (nothing, pattern)):
        assert convert(*missing, *to) == 1
        heading, *lines = capsys.readouterr().err.splitlines()
        assert heading == f"dbnfast: {out}: 2 inputs of 2 failed:"
        assert len(lines) == 2
        for line, name in zip(lines, missing, strict=True):
            assert line.startswith(f"dbnfast: {name}: ")
        assert not out.exists()
    for times in range(2):
        assert convert(nothing, days / "c.dbn", pattern, *to) == 1
        said = capsys.readouterr().err
        assert ("1 file of 3 done before" in said) == (times == 1)
        assert f"dbnfast: {out}: 2 inputs of 3 failed:\ndbnfast: {nothing}: No such" in said
        assert files_in(out) == ["c.csv"]
    assert convert(pattern, *to) == 1
    assert capsys.readouterr().err == f"dbnfast: {pattern}: no such DBN file\n"


def test_files_of_others_stay(days: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.csv").write_text("of somebody else")
    args = (days, out, "--to", "csv", "--schema", "trades")
    for _ in range(2):
        assert convert(*args) == 1
        assert "b.csv: exists already; --force replaces it" in capsys.readouterr().err
        assert (out / "b.csv").read_text() == "of somebody else"
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(SAMPLE, other / "a.dbn.zst")
    assert convert(other / "a.dbn.zst", out, "--to", "csv", "--schema", "trades") == 1
    assert f"was made of {days / 'a.dbn.zst'}" in capsys.readouterr().err
    assert convert(*args, "--force") == 0


def test_folders_of_a_table(days: Path, tmp_path: Path, capsys: Out) -> None:
    pytest.importorskip("pandas")
    dataset = pytest.importorskip("pyarrow.dataset")
    out = tmp_path / "out"
    args = (days, out, "--schema", "trades", "--partition-by", "date,symbol")
    assert convert(*args) == 0
    assert f"{out / 'a-*.parquet'}: 581 records" in capsys.readouterr().err
    names = files_in(out)
    assert names == sorted(
        f"date=2026-01-05/symbol={symbol}/{stem}-0000.parquet"
        for symbol in ("CLG6", "ESH6", "GCG6", "NQH6") for stem in "abc"
    )  # fmt: skip
    found = dataset.dataset(out, partitioning="hive").to_table().to_pandas()
    wanted = dbnfast.read(SAMPLE).to_df(schema="trades")["symbol"].value_counts() * 3
    assert found["symbol"].astype(str).value_counts().to_dict() == wanted.to_dict()

    before = states(out)
    assert convert(*args) == 0
    assert states(out) == before
    # of a source that has less now, no file of the former stays
    chosen = dbnfast.read(SAMPLE).filter("trades", symbols="ESH6")
    chosen.to_file(days / "c.dbn", compression="none")
    left = out / "date=2026-01-05" / "symbol=GCG6" / ".dbnfast-00.part"
    left.write_bytes(b"of a run that was killed")
    assert convert(*args) == 0
    changed = {name for name in names if before[name] != states(out).get(name)}
    assert changed == {name for name in names if name.endswith("c-0000.parquet")}
    assert [name for name in files_in(out) if name.endswith("c-0000.parquet")] == [
        "date=2026-01-05/symbol=ESH6/c-0000.parquet"
    ]
    assert not left.exists()


def test_a_long_file_is_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    pytest.importorskip("pandas")
    dataset = pytest.importorskip("pyarrow.dataset")
    monkeypatch.setattr("dbnfast.cli.bulk.PART", 9600)  # 200 trades
    source, out = tmp_path / "long.dbn", tmp_path / "out"
    trades = dbnfast.read(SAMPLE).filter("trades")
    trades.to_file(source, compression="none")
    args = (source, out, "--partition-by", "date", "-j", 2)
    assert convert(*args) == 0
    said = sorted(capsys.readouterr().err.splitlines())
    counts = [200, 200, 181]
    assert said == [
        f"dbnfast: {out / f'long.000{i}-*.parquet'}: {n} records" for i, n in enumerate(counts)
    ]
    top = "date=2026-01-05"
    assert files_in(out) == [f"{top}/long.000{i}-0000.parquet" for i in range(3)]
    found = dataset.dataset(out, partitioning="hive").to_table(columns=["sequence"])
    assert found["sequence"].to_pylist() == trades.to_ndarray("trades")["sequence"].tolist()
    assert convert(*args) == 0
    assert "1 file of 1 done before" in capsys.readouterr().err

    def here(work: Any, jobs: Any, n: int, *others: Any) -> Any:
        return results(work, jobs, 1, *others)

    monkeypatch.setattr("dbnfast.cli.bulk.results", here)  # the rest without processes, for speed
    times = trades.to_ndarray("trades")["ts_recv"]
    end = tmp_path / "end"
    assert convert(source, end, *args[2:], "--start", times[150]) == 0
    counts = [200, 200, 31]  # the search leaves out what is before
    assert sorted(capsys.readouterr().err.splitlines()) == [
        f"dbnfast: {end / f'long.000{i}-*.parquet'}: {n} records" for i, n in enumerate(counts)
    ]

    # a cut at the end is said, and what is before it converted
    whole = source.read_bytes()
    source.write_bytes(whole[:-10])
    assert convert(*args) == 0
    assert "warning: " in capsys.readouterr().err
    assert dataset.dataset(out, partitioning="hive").count_rows() == 580
    source.write_bytes(whole)

    # of its own files nothing stays, also where it is not divided the next time
    data = bytearray(source.read_bytes())
    damaged = data[:-4800] + bytes(4800)
    source.write_bytes(damaged)
    assert convert(*args) == 1
    assert "1 input of 1 failed" in capsys.readouterr().err
    assert files_in(out) == [f"{top}/long.000{i}-0000.parquet" for i in range(2)]
    source.write_bytes(data)
    assert convert(*args[:-2]) == 0
    assert files_in(out) == [f"{top}/long-0000.parquet"]


def test_folders_that_others_filled(days: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("of somebody else")
    assert convert(days, out, "--schema", "trades", "--partition-by", "date", "--force") == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_a_mark_that_cannot_be_written(
    days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dbnfast.cli.bulk.replacing", fail)
    assert convert(days, tmp_path / "out", "--to", "json") == 1
    assert os.strerror(errno.ENOSPC) in capsys.readouterr().err
    assert files_in(tmp_path / "out") == []


def test_one_run_at_a_time(days: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    (out / ".dbnfast").mkdir(parents=True)
    lock = FileLock(out / ".dbnfast" / "lock")
    try:
        assert convert(days, out, "--to", "json") == 1
        assert "another convert is writing to it" in capsys.readouterr().err
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["in", "out/"], "--to says"),
        (["in", "out.csv.zst", "--schema", "trades"], "is the name of a file"),
        (["in", "-", "out", "--to", "csv"], "standard input"),
        (["in", "out", "--to", "gold"], "--to is 'gold'"),
        (["in", "out", "--to", "csv", "--partition-by", "date"], "is for parquet"),
        (["in", "out", "--partition-by", "day"], "date, symbol"),
        (["in", "out", "--partition-by", "date", "--zstd"], "zstd"),
        (["in", "out", "--to", "csv", "--schema", "gold"], "gold"),
        (["in/a.dbn.zst", "in/twice/a.dbn", "out", "--to", "csv"], "both become a.csv"),
        (["in", "in", "--to", "dbn"], "become itself"),
        (["none/", "in", "out", "--to", "csv"], "No such file"),
    ],
)
def test_what_is_refused(
    args: list[str], words: str, days: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(days.parent)
    (days / "twice").mkdir()
    shutil.copy(SAMPLE, days / "twice" / "a.dbn")
    assert convert(*args) in (1, 2)
    assert words in capsys.readouterr().err
    assert not any(path.suffix in (".csv", ".parquet") for path in days.parent.rglob("*"))


def test_urls_are_converted_as_files_are(days: Path, tmp_path: Path, capsys: Out) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    assert convert(days.as_uri(), out, "--to", "csv", "--schema", "trades", "--jobs", "2") == 0
    assert convert(days, again, "--to", "csv", "--schema", "trades") == 0
    assert texts(out) == texts(again)
    assert len(texts(out)) == 3
    capsys.readouterr()
    assert convert(days.as_uri(), out, "--to", "csv", "--schema", "trades") == 0
    assert "3 files of 3 done before" in capsys.readouterr().err


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A filesystem that the results go to; none is written to a folder that is called so."""
    fs = fsspec.filesystem("memory")
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    yield fs
    assert list(place.iterdir()) == []
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def found_in(fs: Any, folder: str) -> dict[str, bytes]:
    found = {path[len(folder) + 1 :]: fs.cat_file(path) for path in sorted(fs.find(folder))}
    return {name: data for name, data in found.items() if not name.startswith(".dbnfast/")}


def test_results_go_to_urls(days: Path, tmp_path: Path, out: Any, capsys: Out) -> None:
    args = ("--to", "csv", "--schema", "trades")
    assert convert(days, tmp_path / "here", *args) == 0
    expected = {
        name: (tmp_path / "here" / name).read_bytes() for name in files_in(tmp_path / "here")
    }
    for url in ("memory://there", "memory://there/"):
        assert convert(days, url, *args) == 0
        assert found_in(out, "/there") == expected
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "dbnfast: memory://there/: 3 files of 3 done before"
    dbnfast.read(SAMPLE).to_file(days / "d.dbn", compression="none")
    out.pipe_file("/there/d.csv", b"theirs")
    out.rm_file("/there/a.csv")
    assert convert(days, "memory://there", *args) == 1
    said = capsys.readouterr().err
    assert "memory://there/a.csv: 581 records" in said
    assert "2 files of 4 done before" in said
    assert "memory://there/d.csv: exists already; --force replaces it" in said
    assert found_in(out, "/there") == expected | {"d.csv": b"theirs"}
    assert convert(days, "memory://there", *args, "--force") == 0
    assert found_in(out, "/there") == expected | {"d.csv": expected["c.csv"]}
    out.pipe_file("/file", b"")
    assert convert(days, "memory://file", *args) == 1
    assert "memory:///file: is a file, expected a folder" in capsys.readouterr().err


def test_a_table_goes_to_urls(
    days: Path, tmp_path: Path, out: Any, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    args = ("--schema", "trades", "--partition-by", "date,symbol")
    here, there = tmp_path / "here", "memory://there"
    assert convert(days, here, *args) == 0
    expected = {name: (here / name).read_bytes() for name in files_in(here)}
    real, sent = type(out).put_file, []

    def put(self: Any, part: str, path: str, **more: Any) -> None:
        sent.append(path)
        if len(sent) == 9:  # of 4 files and two marks for each input
            raise ConnectionError("the server is gone")
        real(self, part, path, **more)

    monkeypatch.setattr(type(out), "put_file", put)
    assert convert(days, there, *args) == 1
    assert "the server is gone" in capsys.readouterr().err
    assert found_in(out, "/there") == {
        name: data for name, data in expected.items() if not name.split("/")[-1].startswith("b-")
    }
    assert convert(days, there, *args) == 0
    said = capsys.readouterr().err
    assert "memory://there: 2 files of 3 done before" in said
    assert "memory://there/b-*.parquet: 581 records" in said
    assert found_in(out, "/there") == expected
    first = dbnfast.read(SAMPLE).filter("trades", symbols="ESH6")
    first.to_file(days / "c.dbn", compression="none")  # of fewer symbols than before
    assert convert(days, there, *args) == 0
    left = {name for name in expected if "/c-" not in name or "=ESH6/" in name}
    assert set(found_in(out, "/there")) == left
    assert convert(days, there, *args[:3], "date") == 2
    assert "made with other options" in capsys.readouterr().err
    out.pipe_file("/others/a.txt", b"")
    assert convert(days / "c.dbn", "memory://others", *args) == 1
    assert "memory://others: is not empty, and nothing says" in capsys.readouterr().err


def test_names_that_no_url_has(days: Path, tmp_path: Path, out: Any, capsys: Out) -> None:
    (days / "c.dbn").rename(days / "c::d.dbn")
    args = ("--to", "csv", "--schema", "trades")
    assert convert(days, "memory://there", *args) == 2
    assert "would become c::d.csv, which no URL can name" in capsys.readouterr().err
    assert not out.store
    assert convert(days, tmp_path / "here", *args) == 0
    assert "c::d.csv" in files_in(tmp_path / "here")


@pytest.mark.parametrize("more", [("--to", "csv"), ("--partition-by", "symbol")])
def test_the_home_folder(
    days: Path, tmp_path: Path, out: Any, capsys: Out, monkeypatch: pytest.MonkeyPatch, more: Any
) -> None:
    if "csv" not in more:
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
    monkeypatch.setenv("HOME", str(tmp_path))
    args = ("--schema", "trades", *more)
    assert convert(days, "~/results", *args) == 0
    assert convert(days, tmp_path / "here", *args) == 0
    assert files_in(tmp_path / "results") == files_in(tmp_path / "here") != []
    assert convert(days, "~/results", *args) == 0
    assert "3 files of 3 done before" in capsys.readouterr().err
    assert convert(days / "a.dbn.zst", "~/results", *args) == 0
    assert "1 file of 1 done before" in capsys.readouterr().err


def test_links_to_nothing_are_not_followed(days: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.csv").symlink_to("nowhere")
    assert convert(days, out, "--to", "csv", "--schema", "trades") == 1
    assert f"{out / 'a.csv'}: exists already; --force replaces it" in capsys.readouterr().err
    assert files_in(out) == ["b.csv", "c.csv"]


def test_a_url_of_a_folder_here_is_that_folder(days: Path, tmp_path: Path, out: Any) -> None:
    here = tmp_path / "here"
    assert convert(days, here.as_uri(), "--to", "csv", "--schema", "trades") == 0
    assert files_in(here) == ["a.csv", "b.csv", "c.csv"]


def test_files_of_a_filesystem_that_change_are_done_again(tmp_path: Path, capsys: Out) -> None:
    fs = fsspec.filesystem("memory")
    try:
        fs.pipe_file("/some/x.dbn.zst", SAMPLE.read_bytes())
        url, out = "memory://some/x.dbn.zst", tmp_path / "out"
        target = f"{out}/"
        assert convert(url, target, "--to", "csv", "--schema", "trades") == 0
        mark = json.loads((out / ".dbnfast" / "x.csv.json").read_text())
        assert mark["source"] == "memory:///some/x.dbn.zst"
        assert mark["size"] == SAMPLE.stat().st_size
        capsys.readouterr()
        for again in (url, "memory://some", "memory://some/*"):  # whoever says when it was made
            assert convert(again, target, "--to", "csv", "--schema", "trades") == 0
            assert "1 file of 1 done before" in capsys.readouterr().err
        store = dbnfast.read(SAMPLE)
        two = dbnfast.encode(store.to_ndarray("trades")[:2], store.metadata)
        fs.pipe_file("/some/x.dbn.zst", two)
        capsys.readouterr()
        assert convert(url, target, "--to", "csv", "--schema", "trades") == 0
        assert "done before" not in capsys.readouterr().err
        assert len((out / "x.csv").read_text().splitlines()) == 3
    finally:
        fs.store.clear()


def texts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are needed")
@pytest.mark.parametrize(("n", "number"), [(2, "SIGINT"), (1, "SIGTERM")])
def test_a_run_that_is_ended_goes_on(days: Path, tmp_path: Path, n: int, number: str) -> None:
    out = tmp_path / "out"
    data = (days / "c.dbn").read_bytes()
    (days / "b.dbn.zst").unlink()
    (days / "c.dbn").unlink()
    os.mkfifo(days / "c.dbn")  # an input that is slow
    command = ["convert", str(days), str(out), "--to", "dbn", "--jobs", str(n)]
    process = subprocess.Popen(
        [sys.executable, "-m", "dbnfast", *command], stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        # for both, so that it opens also where the command ends before it reads
        with os.fdopen(os.open(days / "c.dbn", os.O_RDWR), "wb", buffering=0) as pipe:
            pipe.write(data[:60_000])
            mark = out / ".dbnfast" / "a.dbn.json"
            wait_for(lambda: mark.exists() and '"done": true' in mark.read_text(), process)
            wait_for(lambda: list(out.glob(".dbnfast-*.part")), process)
            if number == "SIGINT":  # as a terminal does it
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.terminate()
            _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (130 if number == "SIGINT" else 143)
    assert f"{out}: 1 of 2 done; the same command does the others" in said
    assert files_in(out) == ["a.dbn"]

    before = states(out)
    (days / "c.dbn").unlink()
    (days / "c.dbn").write_bytes(data)
    assert main(command) == 0
    assert files_in(out) == ["a.dbn", "c.dbn"]
    assert states(out)["a.dbn"] == before["a.dbn"]
    assert dbnfast.read(out / "c.dbn").counts == dbnfast.read(SAMPLE).counts


def test_a_process_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work_of_a_test.py").write_text(
        "import os\n"
        "def work(job, told):\n"
        "    told(job)\n"
        "    if job == 3:\n"
        "        os._exit(7)\n"
        "    return job * job\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    work = import_module("work_of_a_test").work
    begun: list[int] = []
    read: list[int] = []
    jobs = [1, 2, 3, 4, 5]
    found = dict(results(work, jobs, 2, begun.append, read.append))
    assert begun == [0, 1, 2, 3, 4]
    died = found.pop(2)
    assert isinstance(died, RuntimeError)
    assert "with 7" in str(died)
    assert found == {0: 1, 1: 4, 3: 16, 4: 25}
    assert sum(read) in (1 + 2 + 4 + 5, sum(jobs))  # of the one that died maybe


def test_lines_above_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("dbnfast.cli.outputs.PATIENCE", -1)
    with Progress([]) as progress:
        progress.told(5)
        progress.say("dbnfast: [x]: 1 record\n")
    assert "dbnfast: [x]: 1 record\n" in terminal.getvalue()
