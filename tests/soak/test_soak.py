"""
Sessions against a gateway that fails in many ways: each record once, or a gap that says so.

``SOAK`` is the number of sessions and ``SOAK_SEED`` the first seed. What a session is about follows
from its seed, so that a failure, which tells its own, can be repeated.
"""

from __future__ import annotations

import faulthandler
import os
import tempfile
import threading
from typing import Any

import pytest

from dbnfast.live import base
from dbnfast.live.session import link, retry
from dbnfast.live.session.session import Session
from soak.client import LIMIT, Seen, session
from soak.gateway import Gateway
from soak.oracle import Verdict
from soak.plan import Plan, Sub

N = int(os.environ.get("SOAK") or 60)
FIRST = int(os.environ.get("SOAK_SEED") or 1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats and retries in a fraction of their time."""
    monkeypatch.setattr(base, "MIN_HEARTBEAT_S", 1)
    monkeypatch.setattr(retry, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(retry, "MAX_RETRY", 0.04)
    monkeypatch.setattr(retry, "SPACING", 0.005)


def judge(seed: int, patch: pytest.MonkeyPatch) -> Verdict:
    """Run one session, and see what must hold for it."""
    plan, seen = Plan(seed), Seen()
    made: dict[int, Sub] = {}
    patch.setattr(link, "STEADY", plan.steady)
    if plan.quick_silence:
        patch.setattr(link, "MARGIN", -0.6)
    with Gateway(plan) as gateway:
        # the client's clock is near the gateway's, which is not of today
        defaults: Any = Session.__init__.__kwdefaults__
        patch.setitem(defaults, "wall", gateway.wall)
        args = (plan, gateway, seen, made)
        thread = threading.Thread(target=session, args=args, name="soak", daemon=True)
        thread.start()
        thread.join(LIMIT)
        where = stacks() if thread.is_alive() else ""
    verdict = Verdict(plan, gateway, seen, made)
    if where:
        verdict.fail("hang", f"\n{where}")
    return verdict


def stacks() -> str:
    """Where all threads are."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()


@pytest.mark.parametrize("seed", range(FIRST, FIRST + N))
def test_each_record_comes_once_or_a_gap_says_so(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = judge(seed, monkeypatch)
    if verdict.failures:
        pytest.fail(verdict.report(), pytrace=False)
