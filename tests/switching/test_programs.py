"""
Programs as users of databento write them print the same after their imports are changed.

Each in ``programs`` is run twice, in processes of its own: as it stands, and with dbnfast imported
instead. ``setting`` names what it reads and connects to: the sample, parted by schema, gateways and
a server of historical data on the loopback.
"""

from __future__ import annotations

import os
import re
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
from helpers.programs import ended
from helpers.vendor import KEY, Vendor, vendor

pytest.importorskip("databento")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

PROGRAMS = {path.stem: path.read_text("utf-8") for path in Path(__file__).parent.glob("*/*.py")}
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


def printed(package: str, program: str, folder: Path, names: dict[str, Any], **more: str) -> str:
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
    done = ended(package, [sys.executable, "-c", HEAD + code + END], folder, environment)
    assert done.returncode == 0, f"{package}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_program_prints_the_same_with_either_package(
    name: str, parts: Path, n_trades: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    program, environment = PROGRAMS[name], {}
    said = []
    for package in ("databento", "dbnfast"):
        names: dict[str, Any] = {"KEY": KEY, "PARTS": str(parts), "TRADES": n_trades}
        if "URL" in program:
            served = request.getfixturevalue("server")
            names["URL"], environment = served.url, served.environment
        with (
            Gateway(str(SAMPLE), keys=[KEY], at_end="idle") as gateway,
            Gateway(str(SAMPLE), keys=[KEY], at_end="close") as closing,
            Gateway(str(SAMPLE), keys=[KEY], at_end="idle", faults={0: [Reset(5000)]}) as broken,
        ):
            names.update(PORT=gateway.port, CLOSING_PORT=closing.port, RESET_PORT=broken.port)
            said.append(printed(package, program, tmp_path / package, names, **environment))
    assert said[1] == said[0]
    assert len(said[0]) > 10


def test_classes_of_one_package_are_none_of_the_other() -> None:
    """What the guide warns of first: no error says that an import was left as it was."""
    official = pytest.importorskip("databento_dbn")
    record = next(iter(dbnfast.read(SAMPLE).filter("trades")))
    assert isinstance(record, dbnfast.TradeMsg)
    assert not isinstance(record, official.TradeMsg)
    guide = Path(__file__).parents[2] / "docs" / "guide" / "migrating.md"
    if guide.is_file():
        before, _, _ = guide.read_text("utf-8").partition("\n## ")
        assert "isinstance(record, databento_dbn.TradeMsg)" in before
