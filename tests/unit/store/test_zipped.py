"""Zip files as the vendor's portal gives them: the DBN files in them, read in place."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from helpers import streams

T0 = 1_767_571_200_000_000_000
N = 3000
DAY = 86_400_000_000_000


def day(number: int) -> np.ndarray[Any, Any]:
    array = dbnfast.empty("trades", N).copy()
    first = T0 + number * DAY
    array["ts_recv"] = array["ts_event"] = first + np.arange(N, dtype=np.uint64) * np.uint64(10**9)
    array["publisher_id"], array["instrument_id"] = 1, np.arange(N) % 7
    array["price"] = np.random.default_rng(number).integers(1, 10**12, N)
    return array


def header(number: int) -> dbnfast.Metadata:
    first = T0 + number * DAY
    return dbnfast.Metadata(
        dataset="XNAS.ITCH", schema="trades", start=first, end=first + DAY,
        stype_in="raw_symbol", stype_out="instrument_id", symbols=["A"],
    )  # fmt: skip


def seekable(number: int) -> bytes:
    out = io.BytesIO()
    with streams.encoder(out, header(number), 20_000) as encoder:
        encoder.write(day(number))
    return out.getvalue()


FILES = {
    "job/xnas-2.dbn.zst": seekable(2),
    "job/xnas-1.dbn.zst": dbnfast.encode(day(1), header(1), compression="zstd"),
    "job/xnas-3.dbn": dbnfast.encode(day(3), header(3)),
}
BESIDE = {
    "job/metadata.json": b"{}", "job/manifest.json": b"{}", "job/condition.json": b"[]",
    "job/symbology.json": b"{}", "job/.hidden.dbn": b"no", "notes.dbn.txt": b"no",
}  # fmt: skip
EXPECTED = np.concatenate([day(1), day(2), day(3)])


def packed(method: int, files: dict[str, bytes] | None = None, before: bytes = b"") -> bytes:
    out = io.BytesIO()
    out.write(before)
    with zipfile.ZipFile(out, "a" if before else "w") as archive:
        archive.mkdir("job")
        for name, data in {**BESIDE, **(FILES if files is None else files)}.items():
            archive.writestr(name, data, method)
    return out.getvalue()


STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


@pytest.mark.parametrize("method", [STORED, DEFLATED])
@pytest.mark.parametrize("before", [b"", b"a program that unpacks itself"])
def test_a_zip_file_is_the_dbn_files_in_it(tmp_path: Path, method: int, before: bytes) -> None:
    path = tmp_path / "XNAS-20260105.ZIP"
    path.write_bytes(packed(method, before=before))
    store = dbnfast.read(path)
    assert store.nbytes == sum(map(len, FILES.values()))
    assert (store.to_ndarray() == EXPECTED).all()
    assert (np.concatenate([block.array() for block in store.iter_batches(5000)]) == EXPECTED).all()
    start, end = T0 + 2 * DAY + 100 * 10**9, T0 + 2 * DAY + 160 * 10**9
    wanted = EXPECTED[(EXPECTED["ts_recv"] >= start) & (EXPECTED["ts_recv"] < end)]
    assert (store.filter(start=start, end=end).to_ndarray() == wanted).all()
    third = T0 + 3 * DAY
    found = store.filter(start=third + 10**9, end=third + 5 * 10**9).to_ndarray()
    assert (found == day(3)[1:5]).all()
    parts = pickle.loads(pickle.dumps(store.parts(20_000)))
    assert (np.concatenate([part.read().array() for part in parts]) == EXPECTED).all()
    assert str(parts[0].path) == f"zip://job/xnas-1.dbn.zst::{path}"
    assert len(parts) == (3 if method == DEFLATED else len(parts))
    assert method == DEFLATED or len(parts) > 10
    with path.open("rb") as file:
        assert (dbnfast.read(file).to_ndarray() == EXPECTED).all()
    assert (dbnfast.read([path]).to_ndarray() == EXPECTED).all()
    assert (dbnfast.read(str(tmp_path / "*.ZIP")).to_ndarray() == EXPECTED).all()


def test_one_member_has_its_stream(tmp_path: Path) -> None:
    for method in (STORED, DEFLATED):
        for name, data in FILES.items():
            path = tmp_path / "one.zip"
            path.write_bytes(packed(method, {name: data}))
            store = dbnfast.read(path)
            assert store.raw == data
            with store.reader as reader:
                assert len(reader.read()) == N * 48 + len(header(1).encode())
            out = io.BytesIO()
            store.to_file(out)
            assert out.getvalue() == data


def test_a_member_that_is_compressed_is_read_from_any_place(tmp_path: Path) -> None:
    data = FILES["job/xnas-3.dbn"]
    path = tmp_path / "one.zip"
    path.write_bytes(packed(DEFLATED, {"a.dbn": data}))
    (part,) = dbnfast.read(path).parts()
    with part.store()._blocks.sources[0].open() as file:
        for at in (5, 70_000, 3, 100_000, 100_001, len(data) - 3, 0):
            file.seek(at)
            assert file.read(50) == data[at : at + 50]
            assert file.tell() == at + len(data[at : at + 50])
        file.seek(-7, 2)
        assert file.read() == data[-7:]
        file.seek(len(data) + 100)
        assert file.read() == b""


def test_members_on_a_filesystem() -> None:
    fsspec = pytest.importorskip("fsspec")
    from dbnfast._util import ranges

    fs = fsspec.filesystem("memory")
    got: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        original = ranges.Remote._get

        def get(self: Any, start: int, stop: int) -> bytes:
            got.append((start, stop))
            return original(self, start, stop)

        patch.setattr(ranges.Remote, "_get", get)
        filler = {"job/filler.csv": bytes(3_000_000)}
        for method in (STORED, DEFLATED):
            data = packed(method, {**FILES, **filler} if method == STORED else FILES)
            fs.pipe_file("/jobs/job.zip", data)
            try:
                got.clear()
                store = dbnfast.read("memory://jobs/job.zip")
                if method == STORED:  # the directory, and the beginnings of three files
                    assert len(got) == 4
                    assert sum(stop - start for start, stop in got) < 500_000
                assert (store.to_ndarray() == EXPECTED).all()
                with fs.open("/jobs/job.zip") as file:
                    assert (dbnfast.read(file).to_ndarray() == EXPECTED).all()
                for url, n in (
                    ("zip://job/xnas-*::memory://jobs/job.zip", 3),
                    ("zip://job::memory://jobs/job.zip", 3),
                    ("zip://job/xnas-1.dbn.zst::memory://jobs/job.zip", 1),
                ):
                    assert (dbnfast.read(url).to_ndarray() == EXPECTED[: n * N]).all()
                parts = pickle.loads(pickle.dumps(store.parts()))
                assert parts[1].path == "zip://job/xnas-2.dbn.zst::memory:///jobs/job.zip"
                assert (parts[1].read().array() == day(2)).all()
                fs.pipe_file("/jobs/job.zip", data)
                with pytest.raises(ValueError, match="has changed since the parts were made"):
                    parts[1].read()
            finally:
                fs.rm("/jobs", recursive=True)


def test_what_is_wrong_with_a_zip_file(tmp_path: Path) -> None:
    path = tmp_path / "job.zip"
    good = packed(STORED)
    path.write_bytes(b"this is no zip file")
    with pytest.raises(dbnfast.DecompressionError, match=r"job\.zip: this is no zip file, or a da"):
        dbnfast.read(path)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(dbnfast.DecompressionError, match="this is no zip file, or a damaged one"):
        dbnfast.read(path)
    path.write_bytes(packed(STORED, {}))
    with pytest.raises(FileNotFoundError, match="no DBN files") as missing:
        dbnfast.read(path)
    assert missing.value.filename == str(path)
    damaged = bytearray(good)
    damaged[good.index(b"PK\3\4", good.index(b"job/xnas-2") - 40)] = 0
    path.write_bytes(damaged)
    with pytest.raises(dbnfast.DecompressionError, match=r"where job/xnas-2\.dbn\.zst should be"):
        dbnfast.read(path)
    path.write_bytes(packed(zipfile.ZIP_BZIP2))
    with pytest.raises(dbnfast.DecompressionError, match="is compressed by method 12, expected 0"):
        dbnfast.read(path)


def with_flag(data: bytes, name: bytes, flag: int) -> bytes:
    """Set a flag of a member, in both of its headers."""
    made = bytearray(data)
    for magic, n, place in ((b"PK\3\4", 30, 6), (b"PK\1\2", 46, 8)):
        at = data.index(magic)
        while data[at + n : at + n + len(name)] != name:
            at = data.index(magic, at + 1)
        struct.pack_into("<H", made, at + place, flag)
    return bytes(made)


def test_a_member_that_is_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "job.zip"
    path.write_bytes(with_flag(packed(STORED), b"job/xnas-1.dbn.zst", 1))
    with pytest.raises(
        dbnfast.DecompressionError, match=r"job/xnas-1\.dbn\.zst is encrypted: unpack it"
    ):
        dbnfast.read(path)


def test_a_member_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "job.zip"
    name = "job/xnas-3.dbn"
    good = packed(DEFLATED, {name: FILES[name]})
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        info = archive.getinfo(name)
    at = info.header_offset + 30 + len(name)
    damaged = bytearray(good)
    damaged[at + info.compress_size - 100 : at + info.compress_size - 90] = bytes(10)
    path.write_bytes(damaged)
    with pytest.raises(dbnfast.DecompressionError, match=rf"zip://{name}::.*the member is damaged"):
        dbnfast.read(path).to_ndarray()
    checksum = struct.pack("<I", info.CRC)
    path.write_bytes(good.replace(checksum, bytes(4)))
    with pytest.raises(dbnfast.DecompressionError, match="its checksum is 0x"):
        dbnfast.read(path).to_ndarray()
    size = struct.pack("<II", info.compress_size, info.file_size)
    path.write_bytes(good.replace(size, struct.pack("<II", info.compress_size, 5)))
    with pytest.raises(dbnfast.DecompressionError, match="bytes, expected 5"):
        dbnfast.read(path).raw  # noqa: B018
    path.write_bytes(good.replace(size, struct.pack("<II", 1000, info.file_size)))
    with pytest.raises(dbnfast.DecompressionError, match="ends too early"):
        dbnfast.read(path).to_ndarray()
    path.write_bytes(good.replace(size, struct.pack("<II", 10**8, info.file_size)))
    with pytest.raises(dbnfast.DecompressionError, match=r"would end at byte .*, behind the end"):
        dbnfast.read(path)
