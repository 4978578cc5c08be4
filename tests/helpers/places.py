"""Where the tree is, the golden and the real files, and the sample that the package brings."""

from __future__ import annotations

from pathlib import Path

import dbnfast

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent  # of the tree, or what lies beside the tests of an installed wheel
FIXTURES = ROOT / "fixtures"
REAL = ROOT.parent / "shared" / "testdata"  # not in the tree, and on few machines
SAMPLE = Path(dbnfast.__file__).parent / "data" / "sample.dbn.zst"
SAMPLE_NAME = "../src/dbnfast/data/sample.dbn.zst"  # in the manifest: beside `fixtures`


def golden(name: str) -> Path:
    """Give a file that the manifest names; the tests may run where the sources are not."""
    return SAMPLE if name == SAMPLE_NAME else FIXTURES / name
