"""The table of publishers is the official client's."""

from __future__ import annotations

import pytest

from dbnfast import PUBLISHERS, Publisher


def test_publishers_are_the_official_clients() -> None:
    official = pytest.importorskip("databento.common.publishers")
    theirs = {
        publisher.to_int(): (publisher.value, publisher.dataset.value, publisher.venue.value)
        for publisher in official.Publisher
    }
    ours = {key: (p.name, p.dataset, p.venue) for key, p in PUBLISHERS.items()}
    # a release of either may be ahead of the other; what both have must agree
    assert {key: ours[key] for key in theirs.keys() & ours.keys()} == {
        key: theirs[key] for key in theirs.keys() & ours.keys()
    }
    assert set(range(1, 108)) <= theirs.keys() & ours.keys()


def test_ids_are_1_to_153_without_a_gap() -> None:
    assert sorted(PUBLISHERS) == list(range(1, 154))
    assert all(publisher.id == key for key, publisher in PUBLISHERS.items())


@pytest.mark.parametrize(
    ("number", "dataset", "venue"),
    [
        (1, "GLBX.MDP3", "GLBX"),
        (2, "XNAS.ITCH", "XNAS"),
        (81, "XNAS.BASIC", "XNAS"),
        (142, "MAIN.CGIF", "CDEF"),
        (153, "DBIX.CORE", "CDEF"),
    ],
)
def test_publisher(number: int, dataset: str, venue: str) -> None:
    publisher = PUBLISHERS[number]
    assert publisher == Publisher(number, dataset, venue)
    assert publisher.name == f"{dataset}.{venue}"


def test_publishers_are_found_as_in_the_official_enumeration() -> None:
    official = pytest.importorskip("databento").Publisher
    for number in set(range(1, 108)):
        mine, theirs = Publisher.from_int(number), official.from_int(number)
        assert mine is PUBLISHERS[number]
        assert mine is getattr(Publisher, theirs.name)
        assert (mine.to_int(), mine.value) == (theirs.to_int(), theirs.value)
        assert (mine.dataset, mine.venue) == (theirs.dataset, theirs.venue)
        assert f"{mine} {mine.venue}" == f"{theirs} {theirs.venue}"


def test_an_unknown_publisher_is_no_error() -> None:
    publisher = Publisher.from_int(60_000)
    assert publisher == Publisher(60_000, "", "")
    assert (publisher.to_int(), str(publisher), publisher.venue) == (60_000, "60000", "")


def test_names_are_unique() -> None:
    assert len({publisher.name for publisher in PUBLISHERS.values()}) == len(PUBLISHERS)
    assert 0 not in PUBLISHERS  # the gateway's own records have no publisher
