"""`Historical`: the official client's requests, with stores and errors of this package."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast import BentoError, Dataset, Historical, Schema, Store, SType
from helpers.places import SAMPLE
from helpers.vendor import KEY, Vendor, vendor

official = pytest.importorskip("databento")
requests = pytest.importorskip("requests")

RANGE: dict[str, Any] = {"dataset": "GLBX.MDP3", "symbols": "ESH6", "start": "2026-01-05"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    files = {"a.csv": b"one\n", "symbology.json": b"{}"}
    with vendor(tmp_path_factory.mktemp("vendor"), trades(), files) as made:
        yield made


def trades() -> bytes:
    import io

    out = io.BytesIO()
    dbnfast.read(SAMPLE).filter("trades").to_file(out, compression="zstd")
    return out.getvalue()


@pytest.fixture
def server(running: Vendor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    # it read the environment when it was imported, perhaps before this test
    connector = pytest.importorskip("aiohttp").connector
    connector._SSL_CONTEXT_VERIFIED.load_verify_locations(running.environment["SSL_CERT_FILE"])
    running.requests.clear()
    yield running
    running.stalls = running.cuts = False
    running.data = trades()


@pytest.fixture
def client(server: Vendor) -> Historical:
    return Historical(KEY, server.url)


def get_range(client: Any, kind: str, **fields: Any) -> Any:
    if kind == "asyncio":
        # the official client uses what its libraries advise against
        with warnings.catch_warnings():
            if type(client).__module__ != "dbnfast":
                warnings.simplefilter("ignore")
            return asyncio.run(client.timeseries.get_range_async(**{**RANGE, **fields}))
    return client.timeseries.get_range(**{**RANGE, **fields})


def close(store: Any) -> None:
    vars(store)["_data_source"].reader.close()  # nothing else does


both_kinds = pytest.mark.parametrize("kind", ["sync", "asyncio"])


@both_kinds
@pytest.mark.parametrize("to_file", [False, True])
def test_records_become_a_store_that_is_the_official_ones_equal(
    client: Historical, server: Vendor, tmp_path: Path, kind: str, to_file: bool
) -> None:
    fields: list[dict[str, Any]] = [{}, {}]
    if to_file:
        fields = [{"path": tmp_path / "mine"}, {"path": tmp_path / "theirs"}]
    mine = get_range(client, kind, **fields[0])
    theirs = get_range(official.Historical(KEY, server.url), kind, **fields[1])
    assert type(mine) is Store
    assert bytes(mine.raw) == theirs.raw == server.data
    assert [bytes(record) for record in mine] == [bytes(record) for record in theirs]
    assert len(list(mine)) > 100
    assert server.requests[0] == server.requests[1]
    close(theirs)
    if to_file:
        assert (tmp_path / "mine").read_bytes() == server.data
        with pytest.raises(FileExistsError):
            get_range(client, kind, path=tmp_path / "mine")


def test_enumerations_of_this_package_are_what_requests_take(
    client: Historical, server: Vendor
) -> None:
    mine: dict[str, Any] = {
        "dataset": Dataset.GLBX_MDP3, "schema": Schema.OHLCV_1M, "stype_in": SType.PARENT,
        "stype_out": SType.INSTRUMENT_ID, "symbols": ["ES.FUT", "NQ.FUT"], "limit": 5,
    }  # fmt: skip
    theirs = {name: str(value) if isinstance(value, str) else value for name, value in mine.items()}
    get_range(client, "sync", **mine)
    get_range(official.Historical(KEY, server.url), "sync", **theirs)
    assert server.requests[0] == server.requests[1]
    server.requests.clear()
    for package, one in ((dbnfast, client), (official, official.Historical(KEY, server.url))):
        job = one.batch.submit_job(
            dataset=package.Dataset.XNAS_ITCH, symbols="AAPL", schema=package.Schema.MBO,
            start="2026-01-05", split_duration=package.SplitDuration.WEEK,
            delivery=package.Delivery.DOWNLOAD, encoding=package.Encoding.CSV,
            compression=package.Compression.NONE, stype_in=package.SType.RAW_SYMBOL,
        )  # fmt: skip
        assert job["id"] == "JOB-1"
        with pytest.warns(DeprecationWarning, match="mode"):
            cost = one.metadata.get_cost(
                "GLBX.MDP3", "2026-01-05", mode=package.FeedMode.HISTORICAL_STREAMING
            )
        assert cost == 1.25
    assert server.requests[:2] == server.requests[2:]


def test_other_requests_are_as_they_were(
    client: Historical, server: Vendor, tmp_path: Path
) -> None:
    theirs = official.Historical(KEY, server.url)
    for one in (client, theirs):
        assert one.metadata.list_datasets() == ["GLBX.MDP3", "XNAS.ITCH"]
        found = one.symbology.resolve(
            "GLBX.MDP3", "ESH6", "raw_symbol", "instrument_id", "2026-01-05"
        )
        assert found == {"result": {}, "symbols": ["ESH6"]}
        folder = tmp_path / type(one).__module__
        files = one.batch.download("JOB-1", output_dir=folder)
        assert sorted(path.name for path in files) == ["a.csv", "symbology.json"]
        some = asyncio.run(one.batch.download_async(folder, "JOB-1", "a.csv"))
        assert [path.read_bytes() for path in some] == [b"one\n"]
    assert set(dir(theirs.batch)) <= set(dir(client.batch))
    assert client.batch.submit_job.__doc__ == theirs.batch.submit_job.__doc__


def test_stores_ask_through_it(client: Historical, server: Vendor) -> None:
    store = get_range(client, "sync")
    assert type(store.request_full_definitions(client)) is Store
    assert store.request_symbology(client)["result"] == {}
    assert [path for path, _ in server.requests] == [
        "timeseries.get_range", "timeseries.get_range", "symbology.resolve",
    ]  # fmt: skip


# errors


@both_kinds
def test_a_wrong_key_is_an_error_of_this_package(server: Vendor, kind: str, tmp_path: Path) -> None:
    wrong = "db-wrongwrongwrongwrongwrongwr"
    with pytest.raises(official.BentoClientError) as theirs:
        get_range(official.Historical(wrong, server.url), kind)
    for ask in (
        lambda: get_range(Historical(wrong, server.url), kind),
        Historical(wrong, server.url).metadata.list_datasets,
        lambda: Historical(wrong, server.url).batch.download("JOB-1", output_dir=tmp_path),
    ):
        with pytest.raises(dbnfast.BentoClientError) as mine:
            ask()
        assert isinstance(mine.value, dbnfast.DbnError)
        assert str(mine.value) == str(theirs.value)
        assert "Authentication failed" in str(mine.value)
        assert (mine.value.http_status, mine.value.request_id) == (401, "R1")
        assert mine.value.json_body == theirs.value.json_body
        copy = pickle.loads(pickle.dumps(mine.value))
        assert str(copy) == str(mine.value)
        assert (mine.value.__context__, mine.value.__cause__) == (None, None)  # some pickle these


@both_kinds
def test_a_request_that_is_refused_shows_no_key(client: Historical, kind: str) -> None:
    with pytest.raises(BentoError) as caught:
        get_range(client, kind, dataset="NO.SUCH")
    assert str(caught.value) == f"422 dataset is unknown to ****{KEY[-5:]}"
    assert type(caught.value) is dbnfast.BentoClientError
    assert KEY not in f"{caught.value!r} {caught.value.http_body}"


def test_a_server_that_fails_is_an_error_of_this_package(client: Historical) -> None:
    with pytest.raises(dbnfast.BentoServerError, match="500") as caught:
        client.metadata.list_publishers()
    assert "no such thing" in caught.value.http_body


@both_kinds
def test_no_answer_in_time_is_an_error_of_this_package_and_of_the_library(
    client: Historical, server: Vendor, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    server.stalls = True
    client.timeseries.TIMEOUT = 0.2
    with pytest.raises(BentoError) as caught:
        get_range(client, kind)
    assert isinstance(caught.value, TimeoutError)
    if kind == "sync":
        assert isinstance(caught.value, requests.exceptions.ReadTimeout)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))
    assert str(copy)
    del caught
    with monkeypatch.context() as patched:
        # aiohttp leaves a connection whose other side does not close to the garbage collector
        patched.setattr(sys, "unraisablehook", lambda _: None)
        gc.collect()


@both_kinds
def test_no_server_is_an_error_of_this_package(kind: str, server: Vendor) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    client = Historical(KEY, f"https://127.0.0.1:{port}")
    with pytest.raises(BentoError, match=r"127\.0\.0\.1") as caught:
        get_range(client, kind)
    if kind == "sync":
        assert isinstance(caught.value, requests.exceptions.ConnectionError)
    assert isinstance(caught.value, OSError)


@both_kinds
def test_an_answer_that_is_cut_is_an_error_and_leaves_no_file(
    client: Historical, server: Vendor, tmp_path: Path, kind: str
) -> None:
    server.cuts = True
    with pytest.raises(BentoError):
        get_range(client, kind)
    with pytest.raises(BentoError):
        get_range(client, kind, path=tmp_path / "cut.dbn.zst")
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_no_dbn_is_an_error(client: Historical, server: Vendor) -> None:
    server.data = b"<html>" * 40
    with pytest.raises(BentoError, match="expected b'DBN'"):
        get_range(client, "sync")


# the rest


def test_the_key_is_not_shown(server: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Historical(KEY, server.url)
    assert client.key == KEY
    assert client.gateway == server.url
    for shown in (repr(client), repr(client.batch), str(client.timeseries)):
        assert KEY[-5:] in shown
        assert KEY[:-5] not in shown
    monkeypatch.setenv("DATABENTO_API_KEY", KEY)
    assert Historical().gateway == "https://hist.databento.com"
    assert Historical(gateway=dbnfast.HistoricalGateway.BO1).key == KEY
    monkeypatch.delenv("DATABENTO_API_KEY")
    for key in (None, "", " "):
        with pytest.raises(ValueError, match="key"):
            Historical(key)
    with pytest.raises(ValueError, match="YOUR_API_KEY"):
        Historical("YOUR_API_KEY").metadata.list_datasets()


@both_kinds
def test_an_answer_is_held_once(client: Historical, server: Vendor, kind: str) -> None:
    get_range(client, kind)  # imports
    array = dbnfast.empty("trades", 500_000)
    metadata = dbnfast.Metadata(dataset="GLBX.MDP3", schema="trades", start=0)
    server.data = dbnfast.encode(array, metadata)
    size = len(server.data)
    assert size > 20e6
    tracemalloc.start()
    try:
        store = get_range(client, kind)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert store.nbytes == size
    # what grows takes an eighth more than it needs; the official client takes twice the size
    assert peak < 1.4 * size
    assert len(store.to_ndarray()) == len(array)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_store_of_the_official_client_is_read_without_a_copy(
    tmp_path: Path, compression: str
) -> None:
    array = dbnfast.empty("trades", 200_000)
    metadata = dbnfast.Metadata(dataset="GLBX.MDP3", schema="trades", start=0)
    data = dbnfast.encode(array, metadata, compression=compression)
    path = tmp_path / "file"
    path.write_bytes(data)
    for theirs in (official.DBNStore.from_bytes(data), official.DBNStore.from_file(path)):
        tracemalloc.start()
        try:
            store = dbnfast.read(theirs)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert type(store) is Store
        assert store.to_ndarray().tobytes() == array.tobytes()
        assert bytes(store.raw) == data
        if compression == "none":
            assert peak < 0.1 * len(data)
        close(theirs)
    theirs = official.DBNStore.from_file(path)
    assert len(dbnfast.read([theirs, data]).to_ndarray()) == 2 * len(array)
    close(theirs)


def test_without_the_extra_the_error_names_it() -> None:
    code = """
import sys
sys.modules["databento"] = None
import dbnfast
try:
    dbnfast.Historical("db-0123456789abcdefghijklmnopqrs")
except dbnfast.MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'dbnfast[historical]'" in done.stdout
