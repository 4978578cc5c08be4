"""Commands on URLs, folders, patterns and zip files."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from helpers import peers
from helpers.servers import Web, serving_files

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("fsspec")

import fsspec

from dbnfast.__main__ import main

T0 = 1_767_571_200_000_000_000
DAY = 86_400_000_000_000
N = 2000
Out = pytest.CaptureFixture[str]


def day(number: int) -> np.ndarray[Any, Any]:
    array = dbnfast.empty("trades", N).copy()
    first = T0 + number * DAY
    array["ts_recv"] = array["ts_event"] = first + np.arange(N, dtype=np.uint64) * np.uint64(10**9)
    array["publisher_id"], array["instrument_id"] = 1, 5
    array["price"] = number * 10**9
    return array


def encoded(number: int, compression: Any = "none") -> bytes:
    first = T0 + number * DAY
    header = dbnfast.Metadata(
        dataset="XNAS.ITCH", schema="trades", start=first, end=first + DAY,
        stype_in="raw_symbol", stype_out="instrument_id", symbols=["A"],
    )  # fmt: skip
    return dbnfast.encode(day(number), header, compression=compression)


FILES = {"1.dbn": encoded(0), "2.dbn.zst": encoded(1, "zstd"), "3.dbn": encoded(2)}


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("job/metadata.json", b"{}")
        for number, (name, data) in enumerate(FILES.items()):
            archive.writestr(
                f"job/{name}", data, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2]
            )
    return out.getvalue()  # fmt: skip


@pytest.fixture
def memory() -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
    for name, data in FILES.items():
        fs.pipe_file(f"/days/{name}", data)
    fs.pipe_file("/days/readme.txt", b"")
    fs.pipe_file("/job.zip", zipped())
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "days"
    made.mkdir()
    for name, data in FILES.items():
        (made / name).write_bytes(data)
    (made / "readme.txt").write_bytes(b"")
    (tmp_path / "job.zip").write_bytes(zipped())
    return made


def sources(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """What stands for the three files, and how these are called then."""
    here = [str(folder / name) for name in FILES]
    there = [f"memory:///days/{name}" for name in FILES]
    job = str(folder.parent / "job.zip")
    yield str(folder), here
    yield str(folder / "*.d*"), here
    yield folder.as_uri(), here
    yield "memory://days", there
    yield "memory://days/?.dbn*", there
    yield job, [f"zip://job/{name}::{job}" for name in FILES]
    yield "memory://job.zip", [f"zip://job/{name}::memory:///job.zip" for name in FILES]
    yield (
        "zip://job/*.d*::memory://job.zip",
        [f"zip://job/{name}::memory:///job.zip" for name in FILES],
    )


def test_commands_take_what_stands_for_several_files(
    memory: Any, folder: Path, capsys: Out
) -> None:
    for source, names in sources(folder):
        for command in ("info", "stats", "verify"):
            assert main([command, source, "--json"]) == 0, source
            found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
            assert [one["file"] for one in found] == names
            assert [one["records"] for one in found] == [N] * 3
        assert main(["head", source, "--json", "-n", str(N + 2)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == N + 2
        assert json.loads(lines[-1])["price"] == "1.00"
        out = folder.parent / "out.dbn"
        assert main(["merge", source, "-o", str(out), "--force"]) == 0
        expected = np.concatenate([day(0), day(1), day(2)])
        assert (dbnfast.read(out).to_ndarray() == expected).all()
        parts = folder.parent / "parts"
        assert main(["split", source, str(parts), "--no-zstd", "--force"]) == 0
        assert len(list(parts.iterdir())) == 3
        assert (dbnfast.read(parts).to_ndarray() == expected).all()
        capsys.readouterr()
        assert main(["convert", source, str(folder.parent / "a.csv"), "--force"]) == 2
        assert "several inputs become files in a folder" in capsys.readouterr().err
        made = folder.parent / "made"
        assert main(["convert", source, str(made), "--to", "csv"]) == 0
        capsys.readouterr()
        texts = [
            (made / name.removesuffix(".zst")).with_suffix(".csv").read_bytes() for name in FILES
        ]
        assert [len(text.splitlines()) for text in texts] == [N + 1] * 3
        assert main(["convert", source, str(made), "--to", "csv"]) == 0
        assert "3 files of 3 done before" in capsys.readouterr().err
        shutil.rmtree(made)


def test_commands_take_one_file_elsewhere(memory: Any, folder: Path, capsys: Out) -> None:
    here = str(folder / "1.dbn")
    local = folder.parent / "local.csv"
    assert main(["convert", here, str(local)]) == 0
    for name, number in (("1.dbn", 0), ("2.dbn.zst", 1)):
        for url in (f"memory://days/{name}", f"zip://job/{name}::memory://job.zip"):
            out = folder.parent / "out.csv"
            assert main(["convert", url, str(out), "--force"]) == 0
            if number == 0:
                assert out.read_bytes() == local.read_bytes()
            out = folder.parent / "out.dbn"
            again = ["--start", str(T0 + number * DAY + 5 * 10**9), "--end",
                     str(T0 + number * DAY + 9 * 10**9), "--force"]  # fmt: skip
            assert main(["convert", url, str(out), *again]) == 0
            assert (dbnfast.read(out).to_ndarray() == day(number)[5:9]).all()
            assert main(["repair", url, str(out), "--force"]) == 0
            assert (dbnfast.read(out).to_ndarray() == day(number)).all()
            assert main(["split", url, str(folder.parent / "one"), "--force"]) == 0
    assert len(list((folder.parent / "one").iterdir())) == 2


def test_live_data_elsewhere_brings_its_symbols(memory: Any, tmp_path: Path, capsys: Out) -> None:
    record = day(0)[:20].tobytes()
    data = peers.live_header() + peers.mapping(5, "A", "A", T0) + record
    memory.pipe_file("/live/a.dbn", data)
    (tmp_path / "a.dbn").write_bytes(data)
    for command in (
        ["convert", "SOURCE", "OUT/x.dbn", "--schema", "trades"],
        ["split", "SOURCE", "OUT", "--by", "symbol"],
    ):
        made = []
        for source, out in (("memory://live/a.dbn", "there"), (str(tmp_path / "a.dbn"), "here")):
            (tmp_path / out).mkdir(exist_ok=True)
            words = [
                word.replace("SOURCE", source).replace("OUT", str(tmp_path / out))
                for word in command
            ]
            assert main(words) == 0
            made.append({one.name: one.read_bytes() for one in (tmp_path / out).iterdir()})
        assert made[0] == made[1]
        assert made[0]
        assert "A" in capsys.readouterr().out or command[0] == "convert"


def test_what_is_read_of_a_file_elsewhere(folder: Path, capsys: Out) -> None:
    pytest.importorskip("aiohttp")
    with serving_files() as web:
        big = dbnfast.encode(np.concatenate([day(0)] * 200), dbnfast.Metadata("X", schema="trades"))
        web.files["/big.dbn"] = big
        assert main(["head", f"{web.url}/big.dbn", "-n", "5"]) == 0
        assert len(web.ranges) == 1
        assert web.n_bytes < len(big) // 20
        assert_secret_is_hidden(web, capsys)


def assert_secret_is_hidden(web: Web, capsys: Out) -> None:
    secret = "hush5ecret"
    url = f"{web.url}/a.dbn?X-Amz-Signature={secret}"
    web.files["/a.dbn"] = FILES["1.dbn"]
    for command in (
        ["info"],
        ["info", "--json"],
        ["stats"],
        ["verify"],
        ["head", "--schema", "mbo"],
    ):
        main([command[0], url, *command[1:]])
    web.files["/a.dbn"] = b"no DBN at all, but long enough"
    for words in (
        ["info", url], ["head", url], ["verify", url], ["convert", url, "a.csv"],
        ["split", url, "nowhere"], ["merge", url, "-o", "nothing.dbn"], ["repair", url, "no.dbn"],
        ["split", "memory://days/1.dbn", url], ["info", url.replace("/a.dbn", "/b.dbn")],
        ["merge", url.replace("/a.dbn", "/b.dbn"), "-o", "nothing.dbn"],
        ["info", url.replace("http", "nosuch")],
    ):  # fmt: skip
        assert main(words) in (1, 2), words
    said = capsys.readouterr()
    assert secret not in said.out + said.err
    assert said.err.count("X-Amz-Signature=***") >= 10


def test_what_goes_wrong(memory: Any, folder: Path, capsys: Out) -> None:
    memory.pipe_file("/bad/a.dbn", FILES["1.dbn"][:-5])
    assert main(["info", "memory://none/a.dbn", "memory://days/1.dbn"]) == 1
    said = capsys.readouterr()
    assert "no such file" in said.err
    assert "records     2,000" in said.out
    assert main(["verify", "memory://bad/a.dbn"]) == 1
    assert main(["info", "nosuch://a/b.dbn"]) == 2
    assert main(["merge", "memory://none/*.dbn", "-o", str(folder / "x.dbn")]) == 1
    assert main(["split", "memory://days/1.dbn", "memory://days/2.dbn.zst"]) == 1
    assert "memory:///days/2.dbn.zst: is a file, expected a folder" in capsys.readouterr().err
    empty = folder / "empty"
    empty.mkdir()
    for command in (["info"], ["head"], ["stats"], ["verify"]):
        assert main([*command, str(empty)]) == 1
        assert "no DBN files" in capsys.readouterr().err
    broken = folder / "broken.zip"
    broken.write_bytes(b"no zip")
    assert main(["info", str(broken)]) == 1
    assert "this is no zip file" in capsys.readouterr().err
    merged = folder / "4.dbn"
    assert main(["merge", str(folder), "-o", str(merged)]) == 0
    assert main(["merge", str(folder), "-o", str(merged), "--force"]) == 2
    assert "is one of the files that" in capsys.readouterr().err


def test_commands_write_elsewhere(memory: Any, folder: Path, capsys: Out) -> None:
    here = str(folder / "1.dbn")
    for words in (["convert", here], ["merge", here, "-o"], ["repair", here]):
        out = f"memory://out/{words[0]}.dbn"
        assert main([*words, out]) == 0
        assert (dbnfast.read(out).to_ndarray() == day(0)).all()
        assert main([*words, out]) == 1
        assert "exists already; --force replaces it" in capsys.readouterr().err
        assert main([*words, out, "--force"]) == 0
    assert main(["convert", "memory://days/1.dbn", "memory://out/a.csv.zst"]) == 0
    assert main(["convert", here, str(folder / "a.csv.zst")]) == 0
    assert memory.cat_file("/out/a.csv.zst") == (folder / "a.csv.zst").read_bytes()
    assert main(["split", str(folder), "memory://parts", "--no-zstd"]) == 0
    days = [f"xnas-itch-2026010{number}.trades.dbn" for number in (5, 6, 7)]
    assert capsys.readouterr().out.split() == [f"memory://parts/{name}" for name in days]
    for number, name in enumerate(days):
        assert (dbnfast.read(f"memory://parts/{name}").to_ndarray() == day(number)).all()
    assert main(["split", here, "memory://parts"]) == 1
    assert "exists already; --force replaces it" in capsys.readouterr().err
    # of what a pattern stands for the result of an earlier run is none
    assert main(["merge", "memory://out/*.dbn", "-o", "memory:///out/merge.dbn", "--force"]) == 2
    assert "is one of the files that" in capsys.readouterr().err


def test_a_gateway_serves_files_elsewhere(memory: Any) -> None:
    from dbnfast.gateway import Gateway

    with Gateway("memory://days", keys=["db-any-text-of-more-than-5-chars"]) as gateway:
        assert len(gateway.service.source) == 3 * N
