"""One version: the changelog's newest number is the package's."""

from __future__ import annotations

import datetime
import re

import pytest

import dbnfast
from helpers.places import ROOT

CHANGELOG = ROOT / "CHANGELOG.md"
RELEASE = re.compile(r"(\d+)\.(\d+)\.(\d+) - (\d{4}-\d\d-\d\d)")


def headings() -> list[str]:
    """The second-level headings, in their order."""
    if not CHANGELOG.is_file():
        pytest.skip("the changelog is not here")
    lines = CHANGELOG.read_text("utf-8").splitlines()
    return [line.removeprefix("## ") for line in lines if line.startswith("## ")]


def releases() -> list[tuple[tuple[int, ...], datetime.date]]:
    """The numbered headings; every other one has to be "Unreleased", once and first."""
    found = []
    for place, heading in enumerate(headings()):
        if heading == "Unreleased":
            assert place == 0, "Unreleased stands above all numbers, or is not there"
            continue
        match = RELEASE.fullmatch(heading)
        assert match, f"{heading!r} is neither Unreleased nor 'number - date'"
        date = datetime.date.fromisoformat(match[4])
        found.append((tuple(map(int, match.groups()[:3])), date))
    return found


def test_the_newest_number_is_the_version() -> None:
    newest = ".".join(map(str, releases()[0][0]))
    assert newest == dbnfast.__version__


def test_numbers_and_dates_descend() -> None:
    found = releases()
    assert [number for number, _ in found] == sorted({number for number, _ in found}, reverse=True)
    assert [date for _, date in found] == sorted((date for _, date in found), reverse=True)
