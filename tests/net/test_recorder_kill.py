"""
The record command, killed at any moment and resumed, again and again: nothing lost, nothing twice.

``RECORDER_KILLS=200`` kills as often; a kill takes about a quarter of a second. ``RECORDER_SEED``
repeats the same moments, as far as the machine does.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast.files import verify
from dbnfast.gateway import Gateway
from dbnfast.live.recorder import recover
from helpers.gateways import BEGIN, CONTROL, KEY, SECOND, header
from helpers.places import SAMPLE

pytest.importorskip("typer")
pytest.importorskip("rich")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
]

KILLS = int(os.environ.get("RECORDER_KILLS", "6"))
SEED = os.environ.get("RECORDER_SEED", "1")
LASTS = 0.1  # s: the longest that a run records before it is killed
PER_KILL = 0.25  # s of the feed
SPEED = 20
RATE = 4000  # records in a second
PATIENCE = 120  # s: so that a mistake ends a test

# imports once, and forks for every run: that takes milliseconds
FORKS = """
import json, os, sys
from dbnfast.__main__ import main
import dbnfast.cli.app
for line in sys.stdin:
    args, log = json.loads(line)
    child = os.fork()
    if not child:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(file, number)
        code = 99
        try:
            code = main(args)
            sys.stdout.flush()
        finally:
            os._exit(code)
    if sys.stdin.readline() == "kill\\n":
        os.kill(child, 9)  # one that ended by itself has its number until it is waited for
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Commands:
    """Runs the command line in processes that begin at once."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._parent = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, args: list[str], until: Callable[[], None] | None) -> int:
        """Run a command, perhaps killed after something; give how it ended."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        print(json.dumps((args, str(self._log))), file=self._parent.stdin, flush=True)
        if until is not None:
            until()
        print("wait" if until is None else "kill", file=self._parent.stdin, flush=True)
        return int(self._parent.stdout.readline())

    def close(self) -> None:
        """End the process that forks."""
        self._parent.kill()
        self._parent.communicate()


def size_of(folder: Path) -> int:
    """Bytes in a folder, and the number of its files."""
    if not folder.is_dir():
        return 0
    found = 0
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            found += 1 + entry.stat().st_size
    return found


def moment(folder: Path, rng: random.Random) -> None:
    """Wait a little, mostly from when a run has written something on."""
    before, end = size_of(folder), time.monotonic() + 10 * LASTS
    if rng.random() < 0.75:
        while size_of(folder) == before and time.monotonic() < end:
            time.sleep(0.001)
    time.sleep(rng.uniform(0, LASTS))


def dense() -> bytes:
    """Trades in equal pairs, of two instruments, in the disorder of a replay."""
    n = round(KILLS * PER_KILL * RATE / 4) * 4
    array = dbnfast.empty("trades", n)
    steps = [i // 2 for i in range(n)]
    array["sequence"] = steps
    array["ts_recv"] = [BEGIN + step * SECOND * SPEED * 2 // RATE for step in steps]
    array["ts_event"] = array["ts_recv"] - 1000
    array["instrument_id"] = [1 + step % 2 for step in steps]
    array["publisher_id"], array["size"], array["action"], array["side"] = 1, 5, b"T", b"A"
    return dbnfast.encode(array, header(dbnfast.Schema.TRADES, [1, 2]))


def market(records: dbnfast.Records) -> list[bytes]:
    """The records that are the source's."""
    return [bytes(record) for record in records if record.rtype not in CONTROL]


def by_kind(records: list[bytes]) -> dict[tuple[int, bytes], list[bytes]]:
    """Raw records by type and instrument, in their order."""
    found: dict[tuple[int, bytes], list[bytes]] = {}
    for raw in records:
        found.setdefault((raw[1], raw[4:8]), []).append(raw)
    return found


def check(folder: Path, source: dbnfast.Records, log: str, whole: bool) -> None:
    """Each record is there once, in order, in files of which each is sound."""
    recovered = recover(folder)
    assert sorted(recovered.files) == list(recovered.files)
    for path in recovered.files:
        findings = [one for one in verify(path).findings if one.severity != "note"]
        assert findings == [], path
    blocks = list(recovered.records())
    kinds = by_kind([raw for records in blocks for raw in market(records)])
    for kind, sent in by_kind(market(source)).items():
        found = kinds.pop(kind, [])
        if not whole:  # without a start, nothing is owed of the time before the first answer
            sent = sent[len(sent) - len(found) :]
        assert Counter(found) - Counter(sent) == Counter()  # nothing twice
        assert Counter(sent) - Counter(found) == Counter()  # nothing lost
        assert found == sent
    assert not kinds
    began = np.datetime64(blocks[0][0].ts_event, "ns")
    for end in re.findall(r"gap of \S+, \S+ to (\S+): NOT filled", log):
        assert not whole
        assert np.datetime64(end) <= began  # what came late of that time may be missing


@pytest.mark.parametrize(
    ("feed", "form", "start"),
    [
        ("dense", "plain", None),
        ("dense", "zstd", "2023-11-14"),
        ("dense", "mixed", "0"),
        ("sample", "plain", "2026-01-04"),
        ("sample", "zstd", None),
        ("sample", "mixed", "0"),
    ],
)
def test_killed_again_and_again(feed: str, form: str, start: str | None, tmp_path: Path) -> None:
    rng = random.Random(f"{feed} {form} {start} {SEED}")
    folder, log = tmp_path / "rec", tmp_path / "log"
    source: Any = SAMPLE
    schemas = ("trades", "mbp-1", "mbo", "definition", "statistics", "status", "ohlcv-1s")
    speed = 120 / (KILLS * PER_KILL)  # it has two minutes
    if feed == "dense":
        source, schemas, speed = dense(), ("trades",), SPEED
    records = dbnfast.scan(source if feed == "dense" else SAMPLE.read_bytes()).upgrade()
    commands = Commands(log)
    try:
        with Gateway(
            source, keys=[KEY], speed=f"{speed:g}x", at_end="close", replay_window_s=1e9
        ) as gateway:
            args = ["record", str(folder), "--dataset", gateway.service.source.dataset]
            args += ["--gateway", "127.0.0.1", "--port", str(gateway.port), "--key", KEY]
            args += [*itertools.chain(*(("-s", schema) for schema in schemas)), "--no-reconnect"]
            if start is not None:
                args += ["--start", start]
            for _ in range(KILLS):
                fsync = ("close", "interval", "always", "always", "always")
                more = ["--resume", "--fsync", rng.choice(fsync)]
                more += ["--rotate", rng.choice(("3k", "40k", "1M"))]
                if form == "zstd" or (form == "mixed" and rng.random() < 0.5):
                    more.append("--zstd")
                code = commands.run([*args, *more], partial(moment, folder, rng))
                assert code in (-9, 0), log.read_text()  # 0 where the feed was over
            assert commands.run([*args, "--resume"], None) == 0, log.read_text()
    finally:
        commands.close()
    check(folder, records.filter(list(schemas)), log.read_text(), whole=start is not None)
