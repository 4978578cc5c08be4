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
    reading just as the queue became empty; or gives no record at all, where the session ended
    before the first was asked for. That says nothing of the program.
    """
    if package != "databento":
        return _run(command, folder, environment, PATIENCE)
    ran = None
    for _ in range(ATTEMPTS):
        try:
            ran = _run(command, folder, environment, PATIENCE / ATTEMPTS)
        except subprocess.TimeoutExpired:
            continue
        if ran.returncode == 0:
            break
    if ran is None:
        pytest.skip("the official client does not come to its end")
    return ran


def _run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], patience: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=patience, cwd=folder,
        env=environment,
    )  # fmt: skip
