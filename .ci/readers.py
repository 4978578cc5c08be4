"""
Have other packages read a seekable file, in the oldest and the newest version that installs.

Run by ``make readers``, on the Python of the environment. A version that does not install here is
skipped, with the reason. Each reads a file of many frames, and must come to its end.
"""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

import dbnfast

TOOLS = Path(sysconfig.get_path("scripts"))
N: Final = 20_000  # records
FRAME: Final = 64 << 10  # bytes of records in a frame

STORE = """
import databento
store = databento.DBNStore.from_file({path!r})
found = [len(store.to_ndarray()), len(store.to_df()), sum(1 for _ in store)]
"""
BENTO = """
import databento
cls = getattr(databento, "DBNStore", None) or databento.Bento
found = [len(cls.from_file({path!r}).to_ndarray())]
"""
DECODER = """
import databento_dbn as dbn
decoder = dbn.DBNDecoder(compression=dbn.Compression.ZSTD)
decoder.write(open({path!r}, "rb").read())
found = [len(decoder.decode()) - 1]
"""
PYZSTD = """
import pyzstd
found = [(len(pyzstd.decompress(open({path!r}, "rb").read())) - {n_header}) // 48]
"""
ZSTANDARD = """
import zstandard
with open({path!r}, "rb") as file:
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    found = [(len(reader.read()) - {n_header}) // 48]
"""

# package and version, the day whose packages it is installed with, the DBN version that it reads
PINS: Final = (
    ("databento", "0.8.1", "2023-04-05", 1, BENTO),
    ("databento", "0.24.0", "2023-12-01", 1, STORE),
    ("databento", "0.88.0", None, 3, STORE),
    ("databento-dbn", "0.72.0", None, 3, DECODER),
    ("pyzstd", "0.15.3", None, 3, PYZSTD),
    ("pyzstd", "0.20.0", None, 3, PYZSTD),
    ("zstandard", "0.19.0", None, 3, ZSTANDARD),
    ("zstandard", "0.25.0", None, 3, ZSTANDARD),
)


class Small(dbnfast.Encoder):
    """Writes small frames."""

    _frame_bytes = FRAME


def written(path: Path, version: int) -> int:
    """Write the file; give the bytes of its header."""
    metadata = dbnfast.Metadata(
        "GLBX.MDP3",
        0,
        schema="trades",
        stype_in="raw_symbol",
        version=version,
        mappings={},
    )
    array = np.zeros(N, dbnfast.dtype("trades", version=version))
    array["length"], array["publisher_id"], array["instrument_id"] = 12, 1, 1
    array["ts_event"] = array["ts_recv"] = range(10**18, 10**18 + N)
    array["action"], array["side"] = b"T", b"A"
    out = io.BytesIO()
    with Small(out, metadata, compression="zstd") as encoder:
        encoder.write(array)
    path.write_bytes(out.getvalue())
    return len(metadata.encode())


def read(name: str, version: str, day: str | None, program: str, work: Path) -> str:
    """Install a package and have it read; say what came of it."""
    python = work / "bin" / "python"
    commands = [
        [TOOLS / "uv", "venv", "-q", "--clear", "--python", sys.executable, work],
        [TOOLS / "uv", "pip", "install", "-q", "--python", python, "--only-binary", ":all:"]
        + ([] if day is None else ["--exclude-newer", day])
        + [f"{name}=={version}"],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"skipped: {' '.join(done.stderr.split())[:200]}"
    program += f"assert set(found) == {{{N}}}, found\n"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"FAILED: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return f"{N:,} of {N:,} records"


def main() -> int:
    """Do it; 1 where a package stops early."""
    code = 0
    with tempfile.TemporaryDirectory(prefix="dbnfast-readers-") as folder:
        path = Path(folder) / "file.dbn.zst"
        for name, version, day, dbn_version, program in PINS:
            n_header = written(path, dbn_version)
            filled = program.format(path=str(path), n_header=n_header)
            said = read(name, version, day, filled, Path(folder) / "env")
            print(f"{name} {version}: {said}", flush=True)
            code |= said.startswith("FAILED")
    return code


if __name__ == "__main__":
    sys.exit(main())
