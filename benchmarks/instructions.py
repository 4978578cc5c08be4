"""
Count the instructions that the package's roads take for each record, under valgrind's callgrind.

Counts do not depend on what else a machine does, so that they show a change of a few percent where
a duration cannot. ``make instructions`` compares them with `instructions.json` and fails where one
grew by more than 2 %; ``make instructions INSTRUCTIONS=--write`` keeps the new ones, on purpose.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.metadata
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import data
import dbnfast
from dbnfast.live.session.session import Session
from dbnfast.live.wire.auth import ApiKey
from dbnfast.live.wire.protocol import Options
from dbnfast.live.wire.requests import subscription

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = Path(__file__).with_suffix(".json")
FOLDER = Path("build/instructions")  # the same each time: even names of other length change counts
TOLERANCE = 0.02
N = 20_000  # records of a kernel
RUNS = 3  # the least of them counts: now and then memory is given back in one of them
PIECE = 64 << 10
STEADY = {
    "PYTHONHASHSEED": "0",
    # where memory lies decides whether a copy is one instruction for each byte
    "GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=1073741824:"
    "glibc.cpu.x86_rep_stosb_threshold=1073741824",
}
CALLGRIND = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
void end(const char *name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""
LIBRARIES = ("numpy", "pandas", "pyarrow", "msgspec", "backports.zstd")


def environment() -> dict[str, str]:
    """Say what else the counts depend on: other libraries and compilers have other code."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["compiler"] = platform.python_compiler()
    found["libc"] = " ".join(platform.libc_ver())
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = "none"
    done = subprocess.run(["cc", "-dumpfullversion"], capture_output=True, text=True, check=False)
    return {**found, "cc": done.stdout.strip()}


# --- what is counted ----------------------------------------------------------------------


def kernels() -> dict[str, tuple[int, Callable[[], Any]]]:
    """Give each kernel with the number of its records."""
    trades = dbnfast.encode(data.records("trades", N), data.metadata("trades"))
    mixed = data.mixed(N)
    records = dbnfast.scan(trades)
    metadata = records.metadata
    assert metadata is not None
    store = dbnfast.read(trades)
    pieces = [trades[at : at + PIECE] for at in range(0, len(trades), PIECE)]
    csv, lines = io.BytesIO(), io.BytesIO()
    store.to_csv(csv)
    store.to_json(lines)

    def feed() -> None:
        decoder = dbnfast.Decoder()
        for piece in pieces:
            decoder.feed(piece)
            for part in decoder.read():
                part.array()

    def objects() -> None:
        for record in records:
            _ = record.price, record.size, record.instrument_id

    return {
        "decode": (N, lambda: dbnfast.decode(trades)),
        "split": (N, lambda: dbnfast.split(mixed)),
        "feed": (N, feed),
        "record objects": (N, objects),
        "to_df": (N, store.to_df),
        "to_csv": (N, lambda: store.to_csv(io.BytesIO())),
        "to_json": (N, lambda: store.to_json(io.BytesIO())),
        "from_csv": (N, lambda: dbnfast.from_csv(csv.getvalue(), schema="trades")),
        "from_json": (N, lambda: dbnfast.from_json(lines.getvalue(), schema="trades")),
        "encode": (N, lambda: dbnfast.encode(records, metadata)),
        "live batches": (N, lambda: live(records.tobytes(), again=False)),
        "live resume": (2 * N, lambda: live(records.tobytes(), again=True)),
    }


def live(body: bytes, again: bool) -> None:
    """Take a session's batches, without sockets; then all of it once more, as a replay."""
    session = Session(
        ApiKey("db-0123456789abcdefghijklmnopqrs"),
        Options("GLBX.MDP3"),
        policy=dbnfast.ReconnectPolicy.RECONNECT,
        jitter=lambda: 1.0,
        overlap=10**9,
    )
    header = dbnfast.Metadata("GLBX.MDP3", start=1, stype_out="instrument_id").encode()
    session.subscribe(subscription(0, "trades", "ALL_SYMBOLS"))
    session.connect(0.0)
    session.start(0.0)
    now, n = 1.0, 0
    for _ in range(2 if again else 1):
        now = max(now, session.retry_at or 0.0) + 1
        session.connection_made(now)
        for line in (b"lsg_version=0.9.4\ncram=t7kNhwj4xqR0\n", b"success=1|session_id=17\n"):
            receive(session, line, now)
            session.data_to_send()
        receive(session, header, now)
        for at in range(0, len(body), PIECE):
            receive(session, body[at : at + PIECE], now)
            for item in session.backlog.take():
                if isinstance(item, dbnfast.Records):
                    n += len(item.array())
        if again:
            session.connection_lost(None, now)
    assert n == len(body) // 48, n  # what comes a second time is dropped


def receive(session: Any, piece: bytes, now: float) -> None:
    """Give a session bytes as a socket does."""
    while piece:
        room = session.get_buffer(len(piece))
        n = min(len(room), len(piece))
        room[:n] = piece[:n]
        session.buffer_updated(n, now)
        piece = piece[n:]


def side(library: str) -> None:
    """Run each kernel once to warm it up, and then to count it: what callgrind observes."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one thread does it all
    # the tables of symbols are hashed with a secret of their own: here always the same one
    os.urandom = lambda n: (b"\x15\x7c\x4a\x7f\xb9\x79\x37\x9e" * n)[:n]  # type: ignore[assignment]
    callgrind = ctypes.CDLL(str(Path(library).resolve()))
    todo = kernels()
    for name, (n, work) in todo.items():
        work()
        gc.collect()
        gc.disable()
        for _ in range(RUNS):
            callgrind.begin()
            work()
            callgrind.end(f"{name}|{n}".encode())
        gc.enable()


# --- counting -----------------------------------------------------------------------------


def count(folder: Path) -> dict[str, float]:
    """Give the instructions for each record, by kernel."""
    source, library = folder / "begin.c", folder / "begin.so"
    source.write_text(CALLGRIND)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"]
    command += [f"--callgrind-out-file={folder}/counts", sys.executable, __file__]
    env = {"PATH": os.environ["PATH"], "HOME": "/", **STEADY}
    subprocess.run([*command, "--side", str(library)], check=True, env=env)
    found: dict[str, float] = {}
    for path in sorted(folder.glob("counts.*"), key=lambda path: int(path.suffix[1:])):
        text = path.read_text()
        named = re.search(r"^desc: Trigger: Client Request: (.*)\|(\d+)$", text, re.M)
        total = re.search(r"^(?:summary|totals): (\d+)$", text, re.M)
        if named is not None and total is not None:
            least = found.get(named[1], float("inf"))
            found[named[1]] = min(least, int(total[1]) / int(named[2]))
    return found


def compare(counts: dict[str, float], kept: dict[str, float]) -> bool:
    """Print a row for each kernel; say whether none grew or is missing."""
    print(f"{'instructions for each record':<28} {'kept':>10} {'now':>10} {'change':>8}")
    good = counts.keys() == kept.keys()
    for name in {**kept, **counts}:
        before, now = kept.get(name), counts.get(name)
        row = f"{name:<28} {before or float('nan'):>10.1f} {now or float('nan'):>10.1f}"
        if before is None or now is None:
            print(f"{row} {'new' if before is None else 'missing':>8}")
            continue
        change = now / before - 1
        grew = change > TOLERANCE
        good = good and not grew
        print(f"{row} {change:>+8.1%}{'  grew' if grew else ''}")
    return good


def main(argv: list[str] | None = None) -> int:
    """Count, and compare or keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep what is counted")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.side is not None:
        side(args.side)
        return 0
    if shutil.which("valgrind") is None or shutil.which("cc") is None:
        print("no valgrind or no C compiler: instructions are not counted")
        return 0
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    counts = count(FOLDER)
    here = environment()
    if args.write:
        kept = {"environment": here, "counts": {k: round(v, 1) for k, v in counts.items()}}
        KEPT.write_text(json.dumps(kept, indent=2) + "\n")
        print(f"written: {KEPT.name}")
    kept = json.loads(KEPT.read_text())
    good = compare(counts, kept["counts"])
    differ = {key for key in here if here[key] != kept["environment"].get(key)}
    if differ:
        what = ", ".join(f"{k} {kept['environment'].get(k)} -> {here[k]}" for k in sorted(differ))
        print(f"counted elsewhere ({what}): a growth is no failure here; --write keeps these")
        return 0
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
