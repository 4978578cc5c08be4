"""Where the golden files are, and the sample that the installed package brings."""

from __future__ import annotations

from pathlib import Path

import dbnfast

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SAMPLE = Path(dbnfast.__file__).parent / "data" / "sample.dbn.zst"
SAMPLE_NAME = "../src/dbnfast/data/sample.dbn.zst"  # in the manifest: beside `fixtures`


def golden(name: str) -> Path:
    """Give a file that the manifest names; the tests may run where the sources are not."""
    return SAMPLE if name == SAMPLE_NAME else FIXTURES / name
