"""
Programs as users of databento write them print the same after their imports are changed.

Each in ``programs`` is run twice, in processes of its own: as it stands, and with dbnfast imported
instead. ``setting`` names what it reads and connects to: the sample, parted by schema, gateways and
a server of historical data on the loopback.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast.files import split
from dbnfast.gateway import Gateway
from dbnfast.gateway.faults import Reset
from helpers.places import SAMPLE
from helpers.vendor import KEY, Vendor, vendor

pytest.importorskip("databento")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

PROGRAMS = {path.stem: path.read_text("utf-8") for path in Path(__file__).parent.glob("*/*.py")}
PATIENCE = 60  # s: so that a mistake ends a test
ATTEMPTS = 3
# what libraries warn of is not compared, what a program prints is
HEAD = """
import warnings
warnings.simplefilter("ignore")
warnings.showwarning = lambda *a, **k: None
"""
# the official client's threads may end the process in another way
END = "\nimport os, sys\nsys.stdout.flush()\nos._exit(0)\n"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    split(SAMPLE, folder, by="schema")
    return folder


@pytest.fixture(scope="module")
def server(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    data = (parts / "glbx-mdp3.trades.dbn.zst").read_bytes()
    files = {"a.trades.dbn.zst": data, "metadata.json": b"{}"}
    with vendor(tmp_path_factory.mktemp("vendor"), data, files) as made:
        yield made


@pytest.fixture(scope="module")
def n_trades(parts: Path) -> int:
    trades = dbnfast.read(parts / "glbx-mdp3.trades.dbn.zst")
    return int((trades.to_df()["symbol"] == "ESH6").sum())


def ran(
    package: str, program: str, folder: Path, names: dict[str, Any], more: dict[str, str]
) -> str | None:
    """What a program prints with a package, and how it failed; None where it did not end."""
    code = program
    if package == "dbnfast":
        code = re.sub(
            r"^import databento_dbn as dbn$", "import dbnfast.dbn as dbn", code, flags=re.M
        )
        code = re.sub(r"^(import|from) databento\b", r"\1 dbnfast", code, flags=re.M)
    folder.mkdir()
    setting = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    setting += "FILE = lambda schema: f'{PARTS}/glbx-mdp3.{schema}.dbn.zst'\n"
    (folder / "setting.py").write_text(setting)
    # the package under test, wherever the program runs
    environment = {**os.environ, "PYTHONPATH": str(Path(dbnfast.__file__).parents[1]), **more}
    try:
        done = subprocess.run(
            [sys.executable, "-c", HEAD + code + END], cwd=folder, env=environment,
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_program_prints_the_same_with_either_package(
    name: str, parts: Path, n_trades: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    program, environment = PROGRAMS[name], {}

    def printed(package: str, attempt: int = 0) -> str | None:
        names: dict[str, Any] = {"KEY": KEY, "PARTS": str(parts), "TRADES": n_trades}
        nonlocal environment
        if "URL" in program:
            served = request.getfixturevalue("server")
            names["URL"], environment = served.url, served.environment
        with (
            Gateway(str(SAMPLE), keys=[KEY], at_end="idle") as gateway,
            Gateway(str(SAMPLE), keys=[KEY], at_end="close") as closing,
            Gateway(str(SAMPLE), keys=[KEY], at_end="idle", faults={0: [Reset(5000)]}) as broken,
        ):
            names.update(PORT=gateway.port, CLOSING_PORT=closing.port, RESET_PORT=broken.port)
            return ran(package, program, tmp_path / f"{package}{attempt}", names, environment)

    ours = printed("dbnfast")
    assert ours is not None, "it does not come to its end"
    assert len(ours) > 10
    # The official client now and then waits for ever while it iterates, where its loop paused the
    # reading just as the queue became empty; or it gives no record, where the session ended before
    # the first was asked for. That says nothing of the program.
    theirs = [printed("databento")]
    while theirs[-1] != ours and len(theirs) < ATTEMPTS:
        theirs.append(printed("databento", len(theirs)))
    if theirs == [None] * ATTEMPTS:
        pytest.skip("the official client does not come to its end")
    assert ours == theirs[-1]
