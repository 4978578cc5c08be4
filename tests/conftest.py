"""What all tests share: hypothesis profiles, and guards against errors that nobody would see."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import dbnfast

# `search` and `deep` try new examples in each run; the others try the same ones everywhere
PROFILES = {"quick": 15, "dev": 50, "ci": 100, "search": 100, "deep": 2000}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")
HANG_SECONDS = 3600 if PROFILE == "deep" else 300
# which part of a test's cases is run: slow builds take one of several
SHARE = int(os.environ.get("DBNFAST_SHARE", "1"))

for _name, _examples in PROFILES.items():
    settings.register_profile(
        _name,
        max_examples=_examples,
        derandomize=_name not in ("search", "deep"),  # also where CI is set
        database=None,  # a finding becomes an explicit example; nothing depends on earlier runs
        deadline=None,  # a busy machine is no failure
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
settings.load_profile(PROFILE)

# a copy: pytest replaces what file descriptor 2 is while a test runs
_STDERR = os.dup(2)


def pytest_configure() -> None:
    expected = os.environ.get("DBNFAST_EXPECT")
    if expected is not None and expected not in dbnfast.__file__:
        raise pytest.UsageError(f"the tests would run on {dbnfast.__file__}, not in {expected}")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # a shell that starts the run in the background ignores Ctrl-C for it and for its children
        signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is signal.SIG_IGN:
        # under nohup; ignored here still, but not by the commands that tests run
        signal.signal(hang_up, lambda *_: None)
    if not faulthandler.is_enabled():
        faulthandler.enable(_STDERR)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of tests with many cases keep each SHARE-th, where the environment says so."""
    seen: Counter[str] = Counter()
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        test = item.nodeid.partition("[")[0]
        (left if seen[test] % SHARE else kept).append(item)
        seen[test] += 1
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """End the run with a traceback where a test hangs, even in compiled code."""
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=_STDERR)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def _no_ignored_exceptions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail where Python could only say "Exception ignored in": in a destructor or a callback."""
    ignored: list[str] = []

    def hook(unraisable: Any) -> None:
        ignored.append(f"{unraisable.exc_value!r} in {unraisable.object!r}")

    monkeypatch.setattr(sys, "unraisablehook", hook)
    yield
    assert not ignored, f"exceptions were ignored: {ignored}"


@pytest.fixture(autouse=True)
def _official_dtypes() -> Iterator[None]:
    """
    Take back what the official package's `to_ndarray` leaves behind.

    Of data with ts_out it appends that field to the dtypes of its own record classes, and every
    later call in the process reads wrong rows.
    """
    yield
    official = sys.modules.get("databento_dbn")
    for name in dir(official) if official is not None else ():
        dtypes = getattr(getattr(official, name), "_dtypes", None)
        while isinstance(dtypes, list) and dtypes and dtypes[-1][0] == "ts_out":
            dtypes.pop()
