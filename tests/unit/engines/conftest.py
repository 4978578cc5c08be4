"""Stores for the tests of engines, read in streams and batches of a few records."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast.engines import scan as reading
from dbnfast.store.sources import FileSource
from helpers import queries


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What gives a store of each kind, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "STREAM", 9_000)
        patch.setattr(reading, "BLOCK", 3_000)
        yield functools.cache(lambda kind: queries.store_of(kind, tmp_path_factory.mktemp(kind)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What stores were asked to filter by."""
    found: list[dict[str, Any]] = []

    def spied(store: Any, *args: Any, **wanted: Any) -> Any:
        found.append(wanted)
        return plain(store, *args, **wanted)

    plain = dbnfast.Store.filter
    monkeypatch.setattr(dbnfast.Store, "filter", spied)
    return found


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were opened to read records."""
    found: list[str] = []

    def spied(source: Any) -> Any:
        found.append(Path(source.name).name)
        return plain(source)

    plain = FileSource.open
    monkeypatch.setattr(FileSource, "open", spied)
    return found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The columns that were made, for each stream."""
    found: list[set[str]] = []

    def spied(store: Any, *args: Any, columns: Any, **options: Any) -> Any:
        found.append(set(columns))
        return plain(store, *args, columns=columns, **options)

    plain = dbnfast.Store.arrow_batches
    monkeypatch.setattr(dbnfast.Store, "arrow_batches", spied)
    return found
