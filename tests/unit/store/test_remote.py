"""Files elsewhere: read by ranges, the same as files here, and as little of them as is needed."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast._util import ranges, trees, urls
from helpers import streams
from helpers.servers import Web, serving_files

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

T0 = 1_767_571_200_000_000_000
N = 150_000  # trades, of 48 bytes each
STEP = 10_000_000  # ns between two of them
MINUTE = 60_000_000_000


def trades(n: int = N, start: int = T0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(7)
    array = dbnfast.empty("trades", n).copy()
    array["ts_recv"] = array["ts_event"] = start + np.arange(n, dtype=np.uint64) * np.uint64(STEP)
    array["instrument_id"] = np.arange(n) % 5
    array["publisher_id"] = 1
    array["price"] = rng.integers(1, 10**12, n)
    return array


def header(start: int = T0, n: int = N, **fields: Any) -> dbnfast.Metadata:
    return dbnfast.Metadata(
        dataset="XNAS.ITCH", schema="trades", start=start, end=start + n * STEP,
        stype_in="raw_symbol", stype_out="instrument_id", symbols=["A"], **fields,
    )  # fmt: skip


ARRAY = trades()
PLAIN = dbnfast.encode(ARRAY, header())
PACKED = dbnfast.encode(ARRAY, header(), compression="zstd")


def seekable() -> bytes:
    out = io.BytesIO()
    with streams.encoder(out, header(), 1 << 20) as encoder:
        encoder.write(ARRAY)
    return out.getvalue()


SEEKABLE = seekable()
FORMS = {"a.dbn": PLAIN, "b.dbn.zst": PACKED, "c.dbn.zst": SEEKABLE}
START, END = T0 + 5 * MINUTE, T0 + 6 * MINUTE
WANTED = ARRAY[(ARRAY["ts_recv"] >= START) & (ARRAY["ts_recv"] < END)]


@pytest.fixture(scope="module")
def server() -> Iterator[Web]:
    with serving_files() as web:
        yield web


@pytest.fixture
def web(server: Web) -> Web:
    server.files = {f"/{name}": data for name, data in FORMS.items()}
    server.faults, server.etags, server.asked = {}, {}, []
    return server


@pytest.fixture
def memory() -> Iterator[Any]:
    # A new object: what a test before had its own methods of stays behind on the one that is kept.
    fsspec.get_filesystem_class("memory").clear_instance_cache()
    fs = fsspec.filesystem("memory")
    for name, data in FORMS.items():
        fs.pipe_file(f"/days/{name}", data)
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


class Bucket:
    """An S3 bucket of a server in this process."""

    def __init__(self, endpoint: str) -> None:
        self.options = {"endpoint_url": endpoint, "key": "testing", "secret": "testing"}
        self.fs = fsspec.filesystem("s3", **self.options)
        self.fs.mkdir("ticks")
        for name, data in FORMS.items():
            self.fs.pipe_file(f"ticks/days/{name}", data)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, ip_address="127.0.0.1")
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Bucket(f"http://{host}:{port}")
    finally:
        server.stop()


# --- the same as here ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_an_object_reads_as_a_file_does(bucket: Bucket, name: str) -> None:
    url = f"s3://ticks/days/{name}"
    store = dbnfast.read(url, storage_options=bucket.options)
    assert store.metadata == header()
    assert store.nbytes == len(FORMS[name])
    assert (store.to_ndarray() == ARRAY).all()
    assert store.raw == FORMS[name]
    assert (store.filter(start=START, end=END).to_ndarray() == WANTED).all()
    with dbnfast.iter_decode(url, storage_options=bucket.options, max_bytes=1 << 20) as reader:
        found = np.concatenate([block.array() for block in reader])
    assert (found == ARRAY).all()
    own = dbnfast.read(f"ticks/days/{name}", filesystem=bucket.fs)
    assert (own.to_ndarray() == ARRAY).all()
    assert dbnfast.Store.from_file(url, storage_options=bucket.options).counts == store.counts
    assert dbnfast.read_dbn(url, storage_options=bucket.options).counts == store.counts


@pytest.mark.parametrize("name", FORMS)
def test_a_page_of_the_web_reads_as_a_file_does(web: Web, name: str) -> None:
    store = dbnfast.read(f"{web.url}/{name}")
    assert (store.to_ndarray() == ARRAY).all()
    assert store.reader.read() == PLAIN


def test_patterns_folders_and_lists(memory: Any, tmp_path: Path) -> None:
    memory.pipe_file("/days/notes.txt", b"no DBN")
    memory.pipe_file("/days/.d.dbn", b"no DBN either")
    assert len(dbnfast.read("memory://days/*.dbn.zst").to_ndarray()) == 2 * N
    assert len(dbnfast.read("memory://days").to_ndarray()) == 3 * N
    assert len(dbnfast.read("days/[ab].*", filesystem=memory).to_ndarray()) == 2 * N
    assert len(dbnfast.read("memory://days/a.dbn", filesystem=memory).to_ndarray()) == N
    assert len(dbnfast.read(fsspec.open("memory://days/a.dbn")).to_ndarray()) == N  # a name only
    (tmp_path / "here.dbn").write_bytes(PLAIN)
    several = [tmp_path / "here.dbn", "memory://days/a.dbn", ["memory://days/b.dbn.zst"], PLAIN]
    assert len(dbnfast.read(several).to_ndarray()) == 4 * N
    memory.pipe_file("/odd/[1].dbn", PLAIN)
    assert len(dbnfast.read("memory://odd/[1].dbn").to_ndarray()) == N


def test_files_of_the_system_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(PLAIN)
    local = fsspec.filesystem("file")
    for source, options in (
        (path.as_uri(), {}),
        (str(path), {"filesystem": local}),
        (str(tmp_path), {"filesystem": local}),
        (f"{tmp_path.as_uri()}/*.dbn", {}),
    ):
        store = dbnfast.read(source, **options)
        part = store.parts()[0]
        assert part.path == path
        assert (store.to_ndarray() == ARRAY).all()


def test_days_that_follow_each_other_and_those_that_overlap(memory: Any) -> None:
    later = T0 + N * STEP
    memory.pipe_file("/two/2.dbn", dbnfast.encode(trades(start=later), header(later)))
    memory.pipe_file("/two/1.dbn", PLAIN)
    memory.pipe_file("/two/3.dbn", dbnfast.encode(trades(100, later + 1), header(later + 1, 100)))
    memory.mkdir("/two/4.dbn")
    times = dbnfast.read("memory://two").to_ndarray()["ts_recv"]
    assert len(times) == 2 * N + 100
    assert (times[1:] >= times[:-1]).all()


# --- file objects -------------------------------------------------------------------------------


def test_a_file_object_of_fsspec_is_read_where_it_is(web: Web) -> None:
    with fsspec.open(f"{web.url}/a.dbn") as file:
        web.asked.clear()
        store = dbnfast.read(file)
        found = store.filter(start=START, end=END).to_ndarray()
    assert (found == WANTED).all()
    assert web.n_bytes < len(PLAIN) // 4


def test_a_file_object_that_is_no_longer_at_its_beginning_is_read_itself(memory: Any) -> None:
    with fsspec.open("memory://days/a.dbn") as file:
        file.read(100)
        store = dbnfast.read(file)
    memory.rm("/days/a.dbn")
    assert (store.to_ndarray() == ARRAY).all()


def test_an_open_file_is_read_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(PLAIN)
    for buffering in (0, -1):
        with path.open("rb", buffering=buffering) as file:
            store = dbnfast.read(file)
            assert file.tell() == 0
        assert store.parts()[0].path == path
        assert (store.to_ndarray() == ARRAY).all()
    with path.open("rb") as file:
        file.seek(1000)
        store = dbnfast.read(file)
    assert store.parts()[0].path is None
    with path.open("rb") as file:
        path.unlink()
        path.write_bytes(PACKED)  # another file under the name that this one had
        store = dbnfast.read(file)
    assert store.nbytes == len(PLAIN)
    assert (store.to_ndarray() == ARRAY).all()


# --- as little as is needed ---------------------------------------------------------------------


def test_a_header_is_one_range_which_is_kept(web: Web) -> None:
    for name in FORMS:
        web.asked.clear()
        store = dbnfast.read(f"{web.url}/{name}")
        assert web.ranges == [(0, ranges.HEAD)]
        assert store.metadata == header()
    web.files["/small.dbn"] = dbnfast.encode(ARRAY[:100], header())
    web.asked.clear()
    store = dbnfast.read(f"{web.url}/small.dbn")
    assert (store.to_ndarray() == ARRAY[:100]).all()
    assert (store.filter(start=START, end=END).to_ndarray() == WANTED[:0]).all()
    assert web.ranges == [(0, len(web.files["/small.dbn"]))]


def test_a_long_header_is_read_in_few_ranges(web: Web) -> None:
    long = header(not_found=[f"SYMBOL {n:06}" for n in range(40_000)])
    web.files["/long.dbn"] = dbnfast.encode(ARRAY, long)
    n_header = len(web.files["/long.dbn"]) - ARRAY.nbytes
    assert n_header > 20 * ranges.HEAD
    store = dbnfast.read(f"{web.url}/long.dbn")
    assert store.metadata == long
    assert len(web.ranges) <= 8
    assert web.n_bytes < 2 * n_header
    assert (store.to_ndarray() == ARRAY).all()


def test_all_of_a_file_is_read_once(web: Web) -> None:
    for name, data in FORMS.items():
        web.asked.clear()
        store = dbnfast.read(f"{web.url}/{name}")
        store.to_ndarray()
        assert sorted(web.ranges)[0] == (0, ranges.HEAD)
        assert web.n_bytes == len(data)
        web.asked.clear()
        assert sum(len(block) for block in store.iter_batches(1 << 20)) == N
        assert web.n_bytes == len(data) - ranges.HEAD


def test_a_minute_of_a_plain_file_is_a_few_ranges(web: Web) -> None:
    store = dbnfast.read(f"{web.url}/a.dbn")
    web.asked.clear()
    found = store.filter(start=START, end=END)
    assert (found.to_ndarray() == WANTED).all()
    assert len(web.ranges) <= 8
    assert web.n_bytes < WANTED.nbytes + (1 << 20) + (1 << 19)
    web.asked.clear()
    assert "reads=" in repr(found)
    assert web.n_bytes < 1 << 21


def test_a_minute_of_a_seekable_file_is_two_ranges(web: Web) -> None:
    store = dbnfast.read(f"{web.url}/c.dbn.zst")
    web.asked.clear()
    assert (store.filter(start=START, end=END).to_ndarray() == WANTED).all()
    assert len(web.ranges) == 2  # the index, and the frames
    tail, frames = web.ranges
    assert tail == (len(SEEKABLE) - 65_536, len(SEEKABLE))
    assert frames[1] - frames[0] < len(SEEKABLE) // 2
    assert "records=150,000" in repr(store)
    assert len(web.ranges) == 2  # what a repr says, too, is in the index


def test_a_repr_reads_no_file_elsewhere(web: Web) -> None:
    store = dbnfast.read(f"{web.url}/a.dbn")
    web.asked.clear()
    assert "not counted" in repr(store)
    assert web.ranges == []


def test_a_file_whose_header_has_nothing_of_a_range_is_not_read(memory: Any, web: Web) -> None:
    later = T0 + N * STEP
    web.files["/later.dbn"] = dbnfast.encode(trades(start=later), header(later))
    store = dbnfast.read([f"{web.url}/a.dbn", f"{web.url}/later.dbn"])
    web.asked.clear()
    assert (store.filter(start=START, end=END).to_ndarray() == WANTED).all()
    assert {one.path for one in web.asked} == {"/a.dbn"}


# --- read ahead ---------------------------------------------------------------------------------


class Held(ranges.Ranged):
    """Bytes whose ranges are counted, and in the way of nobody."""

    def __init__(self, data: bytes) -> None:
        super().__init__("held", {"size": len(data)})
        self.data = data
        self.got: list[tuple[int, int]] = []

    def _get(self, start: int, stop: int) -> bytes:
        self.got.append((start, stop))
        return self.data[start:stop]

    def _look(self) -> dict[str, Any]:
        return {"size": len(self.data)}

    def _key(self) -> tuple[Any, ...]:
        return (id(self),)


def test_what_is_read_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "HEAD", 100)
    data = bytes(range(256)) * 40
    held = Held(data)
    file = held.open(piece=1000)
    assert file.read(10) == data[:10]
    assert held.got == [(0, 100)]
    file.read(90)
    file.read(1)
    file._pool.shutdown()
    # the one in use, and one more ahead than at first
    assert sorted(held.got[1:]) == [(100, 350), (350, 600), (600, 1100), (1100, 1600)]
    file.close()
    held.got.clear()
    file = held.open([(0, len(data))], piece=1000)
    file.read(100)
    file.read(1)
    file._pool.shutdown()
    assert len(held.got) == 1 + ranges.AHEAD
    assert max(stop for _, stop in held.got) == 100 + 2 * 250 + 2 * 500 + 5 * 1000
    file.close()
    with held.open(piece=1000) as again:
        assert again.read() == data
        assert again.read(1) == b""


def test_any_place_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "HEAD", 64)
    monkeypatch.setattr(ranges, "WINDOW", 100)
    rng = np.random.default_rng(3)
    data = rng.integers(0, 256, 5000, np.uint8).tobytes()
    for runs in (None, [(0, 300), (1000, 2000), (4000, 5000)], [(4990, 5000)]):
        for ahead in (True, False):
            file = Held(data).open(runs, ahead=ahead, piece=200)
            windows = ranges.Windows(Held(data))
            for at in rng.integers(0, 5200, 60).tolist():
                n = int(rng.integers(1, 400))
                file.seek(at)
                found = b""
                while len(found) < n and (more := file.read(n - len(found))):
                    found += more
                assert found == data[at : at + n]
                assert windows(at, n) == data[at : at + n]
                assert file.tell() == at + len(found)
            file.seek(-5, 2)
            assert file.read() == data[-5:]
            file.close()
            with pytest.raises(ValueError, match="closed"):
                file.read(1)


# --- parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_parts_of_an_object_are_read_in_another_process(bucket: Bucket, name: str) -> None:
    store = dbnfast.read(f"s3://ticks/days/{name}", storage_options=bucket.options)
    parts = store.parts(2 << 20)
    assert len(parts) == {"a.dbn": 4, "b.dbn.zst": 1}.get(name, len(parts))
    assert parts[0].path == f"s3://ticks/days/{name}"
    text = pickle.dumps(parts)
    assert len(text) < 20_000  # no data, no header
    if name != "a.dbn":  # an interpreter takes its time
        again = pickle.loads(text)
        assert (np.concatenate([part.read().array() for part in again]) == ARRAY).all()
        return
    code = (
        "import pickle, sys; parts = pickle.load(sys.stdin.buffer);"
        "sys.stdout.buffer.write(b''.join(bytes(part.read().data) for part in parts))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, check=True)
    assert done.stdout == ARRAY.tobytes()
    chosen = store.filter(start=START, end=END).parts(1 << 20)
    again = pickle.loads(pickle.dumps(chosen))
    assert (np.concatenate([part.read().array("trades") for part in again]) == WANTED).all()


def test_a_part_reads_its_bytes(web: Web) -> None:
    part = pickle.loads(pickle.dumps(dbnfast.read(f"{web.url}/a.dbn").parts(2 << 20)[2]))
    web.asked.clear()
    assert (part.read().array() == ARRAY[2 * 43_690 : 3 * 43_690]).all()
    assert web.n_bytes <= part.nbytes + ranges.HEAD
    web.asked.clear()
    part.read()
    assert web.n_bytes == part.nbytes
    part = pickle.loads(pickle.dumps(dbnfast.read(f"{web.url}/c.dbn.zst").parts(2 << 20)[1]))
    web.asked.clear()
    part.read()
    assert len(web.ranges) == 3  # the header, the index, the frames


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_that_was_forked_reads_on(web: Web) -> None:
    file = ranges.Remote(*urls.filesystem_of(f"{web.url}/a.dbn"))
    before = file.fs
    file._pid -= 1  # as if this were the child
    assert file.fetch(3, 8) == PLAIN[3:8]
    assert file.fs == before
    assert multiprocessing.current_process().name == "MainProcess"


def test_parts_of_a_file_that_has_changed(memory: Any, web: Web) -> None:
    for url, change in (
        ("memory://days/a.dbn", lambda: memory.pipe_file("/days/a.dbn", PLAIN)),
        (f"{web.url}/a.dbn", lambda: web.etags.update({"/a.dbn": '"other"'})),
    ):
        part = dbnfast.read(url).parts()[0]
        part.read()
        change()
        with pytest.raises(ValueError, match=r"a\.dbn has changed since the parts were made"):
            part.read()


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_file_that_has_changed_is_seen(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges.Ranged.check, "__kwdefaults__", {"fresh": -1.0})
    store = dbnfast.read("memory://days/a.dbn")
    store.to_ndarray()
    memory.pipe_file("/days/a.dbn", dbnfast.encode(ARRAY[:-1], header()))
    with pytest.raises(ValueError, match=r"memory:///?days/a\.dbn has changed since it was looked"):
        store.to_ndarray()
    memory.rm("/days/a.dbn")
    with pytest.raises(FileNotFoundError, match=r"days/a\.dbn"):
        store.to_ndarray()


def test_a_file_of_a_list_has_not_changed_since(
    memory: Any, bucket: Bucket, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges.Ranged.check, "__kwdefaults__", {"fresh": -1.0})
    for url, options in (
        ("memory://days", None),
        ("memory://days/*.dbn", None),
        ("s3://ticks/days/*", bucket.options),
        ("s3://ticks/days", bucket.options),
        (f"{web.url}/a.dbn", None),
    ):
        store = dbnfast.read(url, storage_options=options)
        for _ in range(2):
            assert len(store.to_ndarray()) % N == 0
        for part in pickle.loads(pickle.dumps(store.parts())):
            assert len(part.read()) == N


def test_a_file_that_became_shorter_is_said_to_have_changed(memory: Any) -> None:
    store = dbnfast.read("memory://days/a.dbn")
    memory.pipe_file("/days/a.dbn", PLAIN[:-1000])
    with pytest.raises(ValueError, match="has changed since it was looked at"):
        store.to_ndarray()


@pytest.mark.parametrize("fault", ["cut", "500"])
def test_errors_name_the_url_and_the_bytes(web: Web, fault: str) -> None:
    store = dbnfast.read(f"{web.url}/a.dbn")
    web.faults["/a.dbn"] = lambda start, stop: fault if start > 3_000_000 else None
    with pytest.raises(OSError, match="reading bytes 4,325,376 to 6,422,528 failed: ") as error:
        store.to_ndarray()
    assert error.value.filename == f"{web.url}/a.dbn"
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is not None
    given = []
    with pytest.raises(OSError, match="reading bytes"):
        given.extend(store.iter_batches(1 << 20))
    n = sum(len(block) for block in given)
    assert 0 < n < N
    assert (np.concatenate([block.array() for block in given]) == ARRAY[:n]).all()
    web.faults.clear()
    assert (store.to_ndarray() == ARRAY).all()


def test_a_server_that_knows_no_ranges_sends_a_file_once(web: Web) -> None:
    for fault in ("no ranges", "no length"):
        web.faults = dict.fromkeys(web.files, fault)
        for name in FORMS:
            store = dbnfast.read(f"{web.url}/{name}")
            web.asked.clear()
            assert (store.to_ndarray() == ARRAY).all()
            assert (store.filter(start=START, end=END).to_ndarray() == WANTED).all()
            assert [one for one in web.asked if one.method == "GET"] == []


def test_nothing_there(web: Web, memory: Any, bucket: Bucket) -> None:
    for url, options in (
        ("memory://nowhere/a.dbn", {}),
        ("memory://nowhere/*.dbn", {}),
        (f"{web.url}/nothing.dbn", {}),
        ("s3://ticks/nothing.dbn", bucket.options),
        ("s3://ticks/none*.dbn", bucket.options),
        ("s3://nobody/nothing.dbn", bucket.options),
    ):
        with pytest.raises(FileNotFoundError) as error:
            dbnfast.read(url, storage_options=options)
        assert str(error.value.filename).replace("///", "//") == url
        assert str(error.value).startswith("[Errno 2] no such ")
    memory.pipe_file("/empty/notes.txt", b"")
    with pytest.raises(FileNotFoundError, match="no DBN files"):
        dbnfast.read("memory://empty")
    memory.pipe_file("/empty/a.dbn", b"")
    with pytest.raises(dbnfast.TruncatedError, match=r"empty/a\.dbn: the stream is empty"):
        dbnfast.read("memory://empty/a.dbn")


def test_damage_names_the_url(memory: Any) -> None:
    memory.pipe_file("/bad/a.dbn", b"no DBN at all, but long enough")
    memory.pipe_file("/bad/b.dbn", PLAIN[:-1])
    with pytest.raises(dbnfast.DecodeError, match=r"memory:///?bad/a\.dbn: "):
        dbnfast.read("memory://bad/a.dbn")
    with pytest.warns(dbnfast.TruncatedWarning, match=r"memory:///?bad/b\.dbn: "):
        assert len(dbnfast.read("memory://bad/b.dbn").to_ndarray()) == N - 1
    with pytest.raises(dbnfast.TruncatedError, match=r"memory:///?bad/b\.dbn: "):
        dbnfast.read("memory://bad/b.dbn", on_truncated="raise").to_ndarray()
    reader = dbnfast.iter_decode("memory://bad/b.dbn", on_truncated="raise")
    with pytest.raises(dbnfast.TruncatedError, match=r"memory://bad/b\.dbn: "):
        list(reader)


def test_wrong_calls() -> None:
    with pytest.raises(FileNotFoundError, match="a URL is text, a Path makes another of it"):
        dbnfast.read(Path("s3://bucket/a.dbn"))
    with pytest.raises(ValueError, match="nosuch"):
        dbnfast.read("nosuch://a/b.dbn")
    with pytest.raises(TypeError, match="filesystem is str, expected one of fsspec"):
        dbnfast.read("a.dbn", filesystem="s3")


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    for call in (dbnfast.read, dbnfast.iter_decode):
        with pytest.raises(dbnfast.MissingExtraError, match=r"dbnfast\[remote\]"):
            call("s3://bucket/a.dbn")


# --- writing ------------------------------------------------------------------------------------


WRITERS: dict[str, Any] = {
    "dbn": lambda store, target, **more: store.to_file(target, **more),
    "dbn.zst": lambda store, target, **more: store.to_file(target, compression="zstd", **more),
    "csv": lambda store, target, **more: store.to_csv(target, **more),
    "json": lambda store, target, **more: store.to_json(target, **more),
    "parquet": lambda store, target, **more: store.to_parquet(target, **more),
}
SMALL = ARRAY[:2000]


def written(fs: Any, folder: str) -> list[str]:
    fs.invalidate_cache()
    return sorted(path.rsplit("/", 1)[1] for path in fs.find(folder))


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_written_elsewhere_is_what_is_written_here(
    bucket: Bucket, memory: Any, tmp_path: Path, kind: str
) -> None:
    if kind == "parquet":
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
    store = dbnfast.read(dbnfast.encode(SMALL, header()))
    write = WRITERS[kind]
    write(store, tmp_path / "here")
    expected = (tmp_path / "here").read_bytes()
    write(store, (tmp_path / "there").as_uri())
    assert (tmp_path / "there").read_bytes() == expected
    for fs, folder, url, options in (
        (bucket.fs, "ticks/out", f"s3://ticks/out/a.{kind}", bucket.options),
        (memory, "/out", f"memory://out/a.{kind}", None),
    ):
        write(store, url, storage_options=options)
        path = f"{folder}/a.{kind}"
        assert fs.cat_file(path) == expected
        assert written(fs, folder) == [f"a.{kind}"]
        with pytest.raises(FileExistsError, match=f"exists already: '.*out/a.{kind}'"):
            write(store, url, mode="x", storage_options=options)
        fs.pipe_file(path, b"old")
        write(store, url, storage_options=options)
        assert fs.cat_file(path) == expected
        fs.rm(path)
        write(store, url, mode="x", storage_options=options)
        assert fs.cat_file(path) == expected
        fs.rm(path)


@pytest.mark.parametrize("where", ["s3", "memory"])
def test_after_an_error_nothing_is_there(
    bucket: Bucket, memory: Any, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, folder = (bucket.fs, "ticks/half") if where == "s3" else (memory, "/half")
    url = f"{where}://{folder.strip('/')}/a.dbn"
    options = bucket.options if where == "s3" else None
    damaged = bytearray(PLAIN)
    damaged[-48 * 10] = 1  # a length that cannot be
    store = dbnfast.read(bytes(damaged))
    for kind in ("csv", "json", "dbn.zst"):
        with pytest.raises(dbnfast.InvalidRecordError):
            WRITERS[kind](store, url, storage_options=options)
        assert written(fs, folder) == []
    good = dbnfast.read(PLAIN)
    fs.pipe_file(f"{folder}/a.dbn", b"old")

    def put(*_: Any, **__: Any) -> None:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(fs, "put_file", put)  # which all URLs of it have
    with pytest.raises(OSError, match="the server is gone") as error:
        good.to_file(url, storage_options=options)
    assert str(error.value.filename).endswith("half/a.dbn")
    assert written(fs, folder) == ["a.dbn"]
    assert fs.cat_file(f"{folder}/a.dbn") == b"old"
    monkeypatch.undo()
    if where == "s3":
        with pytest.raises(OSError, match="bucket does not exist") as error:
            good.to_file("s3://nobody/a.dbn", storage_options=options)
        assert error.value.filename == "s3://nobody/a.dbn"
    fs.rm(f"{folder}/a.dbn")


def test_a_filesystem_that_shows_halves_gets_its_file_under_another_name(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = type(memory).put_file
    seen = []

    def put(self: Any, part: str, path: str, **more: Any) -> None:
        original(self, part, path, **more)
        seen.append(path)
        raise ConnectionError("gone at the last moment")

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "put_file", put)
        with pytest.raises(OSError, match="at the last moment"):
            dbnfast.read(PLAIN).to_file("memory://half/a.dbn")
    assert len(seen) == 1
    assert seen[0].startswith("/half/.dbnfast-")
    assert written(memory, "/half") == []


def test_targets_that_cannot_be(memory: Any) -> None:
    store = dbnfast.read(PLAIN)
    with pytest.raises(IsADirectoryError):
        store.to_file("memory://half/")
    with pytest.raises(ValueError, match="nosuch"):
        store.to_file("nosuch://half/a.dbn")
    with pytest.raises(ValueError, match="mode is 'a'"):
        store.to_file("memory://half/a.dbn", mode="a")


# --- folders ------------------------------------------------------------------------------------


class Far:
    """A folder of a filesystem, and what it is called."""

    def __init__(self, fs: Any, path: str, url: str, options: dict[str, Any] | None) -> None:
        self.fs, self.path, self.url, self.options = fs, path, url, options

    def files(self) -> dict[str, bytes]:
        self.fs.invalidate_cache()
        at = len(self.path) + 1
        return {path[at:]: self.fs.cat_file(path) for path in self.fs.find(self.path)}

    def put(self, name: str, data: bytes) -> None:
        self.fs.pipe_file(f"{self.path}/{name}", data)


@pytest.fixture(params=["s3", "memory"])
def far(request: Any, bucket: Bucket, memory: Any, tmp_path: Path) -> Iterator[Far]:
    """An empty folder; what waits to be sent there leaves nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        waiting = tmp_path / "waiting"
        waiting.mkdir()
        patch.setattr("tempfile.tempdir", str(waiting))
        if request.param == "s3":
            yield Far(bucket.fs, "ticks/far/x", "s3://ticks/far/x", bucket.options)
            if bucket.fs.exists("ticks/far"):
                bucket.fs.rm("ticks/far", recursive=True)
        else:
            yield Far(memory, "/far/x", "memory://far/x", None)
        assert list(waiting.iterdir()) == []


def here(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def tabled(store: Any, folder: Any, by: Any = ("date", "instrument_id"), **more: Any) -> None:
    store.to_parquet(folder, partition_by=by, map_symbols=False, **more)


FAILED = "the server is gone"


def failing(far: Far, patch: pytest.MonkeyPatch, n: int) -> list[str]:
    """Have all but the first files refused; give those that were not."""
    real, taken = type(far.fs).put_file, []
    lock = threading.Lock()

    def put(part: str, path: str, **more: Any) -> None:
        with lock:
            if len(taken) == n:
                raise ConnectionError(FAILED)
            taken.append(path)
        real(far.fs, part, path, **more)

    patch.setattr(far.fs, "put_file", put)
    return taken


def test_a_table_elsewhere_is_that_of_here(far: Far, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    dataset = pytest.importorskip("pyarrow.dataset")
    store = dbnfast.read(dbnfast.encode(SMALL, header()))
    options: dict[str, Any] = {"storage_options": far.options}
    tabled(store, tmp_path / "here")
    tabled(store, far.url, mode="x", **options)
    expected = here(tmp_path / "here")
    assert far.files() == expected
    assert len(expected) == 5
    table = dataset.dataset(far.path, filesystem=far.fs, partitioning="hive").to_table()
    assert table["size"].to_pylist() == [2**32 - 1] * 2000
    assert sorted(set(table["instrument_id"].to_pylist())) == [0, 1, 2, 3, 4]
    with pytest.raises(FileExistsError, match="is not empty") as error:
        tabled(store, far.url, mode="x", **options)
    assert str(error.value.filename).endswith("far/x")
    tabled(store, far.url + "/", **options)  # over itself
    assert far.files() == expected
    tabled(store, far.url, "date", **options)
    assert list(far.files()) == ["date=2026-01-05/part-0000.parquet"]
    far.put("other.parquet", b"")
    with pytest.raises(FileExistsError, match=r"other\.parquet in it is no part"):
        tabled(store, far.url, **options)
    assert len(far.files()) == 2
    with pytest.raises(NotADirectoryError) as error:
        tabled(store, f"{far.url}/other.parquet", **options)
    assert str(error.value.filename).endswith("far/x/other.parquet")


def test_a_table_at_the_url_of_a_folder_here(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    store = dbnfast.read(dbnfast.encode(SMALL, header()))
    tabled(store, (tmp_path / "a").as_uri())
    tabled(store, tmp_path / "b")
    assert here(tmp_path / "a") == here(tmp_path / "b")


def test_a_table_elsewhere_is_all_there_or_not_at_all(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("dbnfast.store.blocks.BLOCK", 48 * 500)
    options: dict[str, Any] = {"storage_options": far.options}
    damaged = bytearray(dbnfast.encode(SMALL, header()))
    damaged[-48 * 10] = 1  # a length that cannot be
    good, bad = dbnfast.read(dbnfast.encode(SMALL, header())), dbnfast.read(bytes(damaged))
    for old in ({}, {"publisher_id=9/part-0000.parquet": b"old"}):
        for name, data in old.items():
            far.put(name, data)
        with pytest.raises(dbnfast.InvalidRecordError):
            tabled(bad, far.url, **options)
        assert far.files() == old
        for n in (0, 2, 4):
            with monkeypatch.context() as patch:
                taken = failing(far, patch, n)
                with pytest.raises(OSError, match=FAILED) as error:
                    tabled(good, far.url, **options)
            assert str(error.value.filename).startswith(f"{far.url.partition(':')[0]}://")
            assert str(error.value.filename).endswith(".parquet")
            assert len(taken) == n
            assert far.files() == old
    tabled(good, far.url, **options)
    assert len(far.files()) == 5


def test_what_has_replaced_a_file_of_a_table_stays(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    options: dict[str, Any] = {"storage_options": far.options}
    for name in ("instrument_id=0", "instrument_id=9"):
        far.put(f"{name}/part-0000.parquet", b"old")
    monkeypatch.setattr(trees, "SMALL", 0)  # one after the other
    failing(far, monkeypatch, 3)
    with pytest.raises(OSError, match=FAILED):
        tabled(dbnfast.read(dbnfast.encode(SMALL, header())), far.url, "instrument_id", **options)
    found = far.files()
    assert list(found) == ["instrument_id=0/part-0000.parquet", "instrument_id=9/part-0000.parquet"]
    new, old = found.values()
    assert (new[:4], old) == (b"PAR1", b"old")


def test_few_files_are_sent_at_a_time(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(trees, "AT_A_TIME", 2)
    real, lock = bucket.fs.put_file, threading.Lock()
    both = threading.Barrier(2)
    now = [0, 0]
    n_sent = 0

    def put(*args: Any, **more: Any) -> None:
        nonlocal n_sent
        with lock:
            n_sent += 1
            first = n_sent <= 2
            now[0] += 1
            now[1] = max(now)
        if first:
            both.wait(60)
        real(*args, **more)
        with lock:
            now[0] -= 1

    monkeypatch.setattr(bucket.fs, "put_file", put)
    store = dbnfast.read(dbnfast.encode(SMALL, header()))
    tabled(store, "s3://ticks/few", storage_options=bucket.options)
    assert (n_sent, now) == (5, [0, 2])
    bucket.fs.rm("ticks/few", recursive=True)


def test_parts_elsewhere_are_those_of_here(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dbnfast import files

    options: dict[str, Any] = {"by": "symbol", "storage_options": far.options}
    far.put("source/a.dbn", dbnfast.encode(SMALL, header()))
    source = f"{far.url}/source/a.dbn"
    (tmp_path / "a.dbn").write_bytes(dbnfast.encode(SMALL, header()))
    paths = files.split(tmp_path / "a.dbn", tmp_path / "here", by="symbol")
    expected = here(tmp_path / "here")
    parts = Far(far.fs, f"{far.path}/parts", f"{far.url}/parts", None)
    found = files.split(source, parts.url, **options)
    assert parts.files() == expected
    assert found == [f"{parts.url}/{path.name}" for path in paths]
    one = dbnfast.read(found[0], storage_options=far.options)
    assert (one.to_ndarray() == SMALL[::5]).all()

    with pytest.raises(FileExistsError, match="exists already") as error:
        files.split(source, parts.url, **options)
    assert str(error.value.filename).endswith(f"far/x/parts/{paths[0].name}")
    for path in paths[1:]:
        parts.fs.rm_file(f"{parts.path}/{path.name}")
    parts.put(paths[0].name, b"old")
    monkeypatch.setattr(trees, "SMALL", 0)
    with monkeypatch.context() as patch:
        assert failing(far, patch, 0) == []
        with pytest.raises(OSError, match=FAILED):
            files.split(source, parts.url, force=True, **options)
    assert parts.files() == {paths[0].name: b"old"}
    with monkeypatch.context() as patch:
        failing(far, patch, 3)
        with pytest.raises(OSError, match=FAILED):
            files.split(source, parts.url, force=True, **options)
    assert parts.files() == {paths[0].name: expected[paths[0].name]}
    files.split(source, parts.url, force=True, **options)
    assert parts.files() == expected
    with pytest.raises(NotADirectoryError):
        files.split(source, source, **options)


@pytest.mark.parametrize("name", ["a[1]", "a*", "a?b=c", "a #%41", "\u00e4=b"])
def test_names_with_anything_in_them(memory: Any, name: str) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    from dbnfast import files

    folder = f"/odd/{name}"
    store = dbnfast.read(dbnfast.encode(SMALL, header()))
    for _ in range(2):
        tabled(store, f"memory:/{folder}", "instrument_id")
        assert memory.find(folder) == [
            f"{folder}/instrument_id={number}/part-0000.parquet" for number in range(5)
        ]
    (part,) = files.split("memory://days/a.dbn", f"memory:/{folder}/parts")
    assert memory.find(f"{folder}/parts") == [part.removeprefix("memory:/")]
    store.to_file(f"memory:/{folder}/one.dbn")
    assert memory.cat_file(f"{folder}/one.dbn")[:3] == b"DBN"


def test_a_folder_is_not_replaced_by_a_file(memory: Any) -> None:
    store = dbnfast.read(dbnfast.encode(SMALL, header()))
    before = memory.find("/")
    with pytest.raises(OSError, match="is a folder") as error:
        store.to_file("memory://days")
    assert error.value.filename == "memory:///days"
    assert memory.find("/") == before


def test_a_part_that_somebody_else_writes_meanwhile(far: Far, tmp_path: Path) -> None:
    from dbnfast.files import split_records

    def blocks() -> Iterator[Any]:
        yield from dbnfast.read(dbnfast.encode(SMALL, header())).iter_batches()
        far.put("xnas-itch-20260105.trades.dbn", b"theirs")

    with pytest.raises(FileExistsError, match="exists already"):
        split_records(blocks(), header(), far.url, storage_options=far.options)
    assert far.files() == {"xnas-itch-20260105.trades.dbn": b"theirs"}


# --- whole files --------------------------------------------------------------------------------


def test_files_elsewhere_are_verified_repaired_and_split(memory: Any, tmp_path: Path) -> None:
    from dbnfast import files

    assert files.verify("memory://days/c.dbn.zst").ok
    memory.pipe_file("/bad/b.dbn", PLAIN[:-5])
    report = files.verify("memory://bad/b.dbn")
    assert report.findings[0].kind == "cut"
    assert files.repair("memory://bad/b.dbn", "memory://bad/good.dbn").n_records == N - 1
    assert (dbnfast.read("memory://bad/good.dbn").to_ndarray() == ARRAY[:-1]).all()
    (part,) = files.split("memory://days/a.dbn", tmp_path)
    assert (dbnfast.read(part).to_ndarray() == ARRAY).all()


def test_text_elsewhere_is_read(memory: Any) -> None:
    store = dbnfast.read(dbnfast.encode(SMALL, header()))
    for name in ("csv", "json"):
        getattr(store, f"to_{name}")(f"memory://text/a.{name}")
        read = getattr(dbnfast, f"from_{name}")
        assert (read(f"memory://text/a.{name}", schema="trades").array() == SMALL).all()
    memory.pipe_file("/text/bad.csv?sig=x", b"ts_event,rtype\n1,nothing\n")
    with pytest.raises(dbnfast.DbnError, match=r"memory://text/bad\.csv\?sig=\*\*\*: "):
        dbnfast.from_csv("memory://text/bad.csv?sig=x", schema="trades")


def test_ranges_come_in_order_whichever_is_there_first() -> None:
    data = bytes(range(256)) * (20 << 12)
    third = threading.Event()

    class Late(Held):
        def _get(self, start: int, stop: int) -> bytes:
            n = (start - ranges.HEAD) >> 20
            if n == 2:
                third.set()
            assert n or third.wait(60), "the third range was not asked for"
            return super()._get(start, stop)

    late = Late(data)
    late._head = data[: ranges.HEAD]
    with late.open() as file:
        assert file.read() == data


# --- what is secret -----------------------------------------------------------------------------


SECRET = "hush5ecret"


def test_what_is_secret_in_a_url_is_in_no_message(web: Web) -> None:
    host = web.url.removeprefix("http://")
    url = f"http://me:{SECRET}@{host}/a.dbn?X-Amz-Signature={SECRET}&part=1"
    store = dbnfast.read(url)
    assert (store.to_ndarray() == ARRAY).all()
    assert SECRET not in repr(store.parts()) + repr(vars(store.parts()[0]))
    web.faults["/a.dbn"] = "500"
    caught: list[BaseException] = []
    for call in (store.to_ndarray, lambda: dbnfast.read(url), lambda: dbnfast.iter_decode(url)):
        with pytest.raises(OSError, match=r"/a\.dbn\?X-Amz-Signature=\*\*\*&part=\*\*\*") as error:
            call()
        caught.append(error.value)
    web.faults.clear()
    web.files["/a.dbn"] = b"no DBN at all, but long enough"
    for call in (lambda: dbnfast.read(url), lambda: dbnfast.iter_decode(url)):
        with pytest.raises(dbnfast.DecodeError, match=r"/a\.dbn\?X-Amz-Signature=\*\*\*") as wrong:
            call()
        caught.append(wrong.value)
    for one in caught:
        shown: BaseException | None = one
        while shown is not None:
            assert SECRET not in str(shown) + repr(shown)
            shown = shown.__cause__


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/a@b.dbn", "s3://bucket/a@b.dbn"),
        ("s3://bucket/2026-01-0?.dbn", "s3://bucket/2026-01-0?.dbn"),
        ("sftp://me:pw@host/a.dbn", "sftp://***@host/a.dbn"),
        ("zip://a.dbn::https://me:pw@h/j.zip?sig=x%2F&b=", "zip://a.dbn::https://***@h/j.zip?sig=***&b="),
        ("read https://h/a?sig=x&k=y: failed", "read https://h/a?sig=***&k=***: failed"),
        ("https://h/a?sig=x::y", "https://h/a?sig=***::y"),
        ("URL('https://h/a?sig=x') is (bad)", "URL('https://h/a?sig=***') is (bad)"),
    ],
)  # fmt: skip
def test_masked(text: str, expected: str) -> None:
    assert urls.masked(text) == expected


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("s3://bucket/a", "s3://bucket/a/b.dbn"),
        ("s3://bucket/a//", "s3://bucket/a/b.dbn"),
        ("s3://bucket", "s3://bucket/b.dbn"),
        ("memory://", "memory://b.dbn"),
        ("memory:///", "memory://b.dbn"),
        ("simplecache::s3://bucket/a", "simplecache::s3://bucket/a/b.dbn"),
        ("dir://a::s3://bucket", "dir://a/b.dbn::s3://bucket"),
    ],
)
def test_joined(folder: str, expected: str) -> None:
    assert urls.joined(folder, "b.dbn") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/a.dbn", True),
        ("zip://*.dbn::s3://bucket/a.zip", True),
        ("simplecache::s3://bucket/a.dbn", True),
        ("a.dbn", False),
        ("C:\\data\\a.dbn", False),
        ("C://data/a.dbn", False),
        ("odd::name.dbn", False),
        ("/data/http://a.dbn", False),
        (b"s3://bucket/a.dbn", False),
        (Path("a"), False),
    ],
)
def test_is_url(text: Any, expected: bool) -> None:
    assert urls.is_url(text) is expected
