"""Programs that are run to their end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

PATIENCE = 120  # s: so that a mistake ends a test
ATTEMPTS = 3


def ended(
    package: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """
    Run a program that uses a package.

    The official client now and then waits for ever while it iterates, where its loop paused the
    reading just as the queue became empty: that says nothing of the program.
    """
    for _ in range(ATTEMPTS if package == "databento" else 1):
        try:
            return subprocess.run(
                command, capture_output=True, text=True, check=False,
                timeout=PATIENCE / ATTEMPTS if package == "databento" else PATIENCE,
                cwd=folder, env=environment,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            if package != "databento":
                raise
    pytest.skip("the official client does not come to its end")
