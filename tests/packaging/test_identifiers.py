"""Which wheels cibuildwheel would build, as it says itself."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import pytest

from helpers.places import ROOT

PYTHONS = ("cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t")
PLATFORMS = {
    "linux": (
        "manylinux_x86_64", "manylinux_aarch64", "musllinux_x86_64", "musllinux_aarch64",
    ),
    "macos": ("macosx_x86_64", "macosx_arm64"),
    "windows": ("win_amd64", "win_arm64"),
}  # fmt: skip


@pytest.mark.parametrize("platform", PLATFORMS)
def test_wheels_are_built_for_these(platform: str) -> None:
    pytest.importorskip("cibuildwheel")
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers"]
    done = subprocess.run(
        [*command, "--platform", platform, "--archs", "all", str(ROOT)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    wanted = {f"{python}-{where}" for python, where in product(PYTHONS, PLATFORMS[platform])}
    assert set(done.stdout.split()) == wanted
