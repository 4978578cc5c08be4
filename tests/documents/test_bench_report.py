"""The report of the benchmarks says what its numbers say; the committed one is of its numbers."""

from __future__ import annotations

import copy
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from helpers.places import ROOT

BENCHMARKS = ROOT / "benchmarks"
if not (BENCHMARKS / "report.py").is_file():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
pytest.importorskip("matplotlib")

# three of a side, so that the medians are 2 and 20: the ratio is 10, of pairs 10, 15 and 5
OURS, THEIRS = [1.0, 2.0, 4.0], [10.0, 30.0, 20.0]
SETTINGS = {
    "runs": 3, "runs_slow": 2, "mixed": 1500, "piece_kib": 64, "from_memory_mib": 96,
    "step_mib": 16, "market": 100_000, "unsteady": 10, "seconds": 3, "seconds_slow": 6,
    "slow": 10_000, "percentiles": [50, 99, 99.9], "growth_runs": 3, "growth_short": 2.0,
    "growth_longest": 20.0, "growth_share": 0.4,
    "sizes": {"trades": 4_000_000, "tbbo": 2000, "mbo": 2001, "mbp-10": 500},
}  # fmt: skip


@pytest.fixture(scope="module")
def bench() -> Iterator[dict[str, Any]]:
    """The modules of the report, which are no package."""
    names = ("measure", "tables", "plots", "report", "growth", "instructions")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        while str(BENCHMARKS) in sys.path:  # report.py adds it too
            sys.path.remove(str(BENCHMARKS))
        for name in (*names, "data", "growth_side"):
            sys.modules.pop(name, None)


def row(group: str, work: str, **about: Any) -> dict[str, Any]:
    return {
        "group": group,
        "work": work,
        "peer": "`slow()`",
        "ours": OURS,
        "theirs": THEIRS,
    } | about


def found() -> dict[str, Any]:
    """A small document: a group failed, others were not run."""
    about = {"date": "2026-01-05", "load": 0.5, "seconds": 30.0}
    trades = {"name": "decode", "records": 4_000_000, "size": 192_000_000, "official": True}
    alone = {"name": "from_csv", "records": 1000, "size": 48_000, "official": False}
    return {
        "format": 1,
        "smoke": False,
        "machine": {
            "processor": "A Processor", "cores": 2, "memory_gb": 24.0, "system": "Linux x86_64",
            "python": "CPython 3.11.7", "packages": {"dbnfast": "0.1.0", "numpy": "2.0.0"},
        },
        "settings": SETTINGS,
        "groups": {
            "decode": about,
            "roads": {**about, "date": "2026-01-06", "load": 1.25},
            "encode": {**about, "error": "OSError: no `room`"},
            "symbols": about, "import_time": about, "text_back": about, "growth": about,
            "latency": about, "memory": about,
        },
        "rows": [
            row("decode", "met", target=10.0),
            row("decode", "missed, near", target=12.0),
            row("decode", "missed, far", target=15.5),
            row("decode", "no target"),
            row("roads", "decode trades", road=trades),
            row("symbols", "in time", most=2.5),
            row("symbols", "too late", most=0.05),
            row("import_time", "not much more", more=30.0),
            row("import_time", "too much more", ours=THEIRS, theirs=OURS, more=0.03),
            row("text_back", "text back", road=alone),
        ],
        "memory": [
            {"group": "memory", "what": "iter_decode", "seen": "Python", "sizes": [100, 2000],
             "peaks": [32.0, 32.5]},
        ],
        "growth": [
            {"group": "growth", "road": "to_df", "size": 1_000_009, "seconds": [0.01, 0.02, 0.04],
             "base": 100_000_000, "peak": 123_000_000},
            {"group": "growth", "road": "to_df", "size": 2_000_000_009, "left_out": "memory: lots"},
            {"group": "growth", "road": "databento to_df", "size": 1_000_009, "error": "it broke"},
        ],
        "latency": [
            {"group": "latency", "who": who, "rate": 10_000, "records": 30_000,
             "runs": [[5e-5 * k, 1e-4 * k, 2e-3 * k] for k in (1, 2, 3)]}
            for who in ("dbnfast", "databento", "socket")
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def page(bench: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    given = found()
    alts = bench["plots"].draw(given, tmp_path_factory.mktemp("plots"))
    text = bench["report"].page(given, alts)
    assert isinstance(text, str)
    return text


TAKES = "`slow()` | 1 / 2 / 4 s | 10 / 20 / 30 s | **10x** (5x to 15x)"


@pytest.mark.parametrize(
    "line",
    [
        f"| met | {TAKES} | 10x | yes |",
        f"| missed, near | {TAKES} | 12x | **no** |",
        f"| no target | {TAKES} |  |  |",
        f"| in time | {TAKES} | at most 2.5 s | yes |",
        f"| too late | {TAKES} | at most 50 ms | **no** |",
        f"| not much more | {TAKES} | at most 30 s more | yes |",
        "| too much more | `slow()` | 10 / 20 / 30 s | 1 / 2 / 4 s | **0.1x** (0.0667x to 0.2x) "
        "| at most 30 ms more | **no** |",
    ],
)
def test_a_row_shows_all_of_its_runs(page: str, line: str) -> None:
    assert page.splitlines().count(line) == 1


def test_targets_that_are_missed_are_named(page: str) -> None:
    assert "7 rows have a target; 3 meet it, 4 do not:" in page
    ratio = "10x (5x to 15x), the target is"
    assert f"* missed, near, against `slow()`: {ratio} 12x; some runs reach it" in page
    assert f"* missed, far, against `slow()`: {ratio} 15.5x; no run reaches it" in page
    late = (
        "* too late, against `slow()`: 10x; dbnfast takes 1 / 2 / 4 s, the target is at most 50 ms"
    )
    assert late in page
    assert "* met" not in page
    assert "* in time" not in page


def test_groups_that_failed_or_were_not_run_are_named(page: str, bench: dict[str, Any]) -> None:
    assert "* **`encode` failed**: `OSError: no 'room'`" in page
    for name in ("split", "feed", "live", "loops", "records", "time_range", "object_storage",
                 "dask", "converters_memory"):  # fmt: skip
        assert f"* `{name}` was not run" in page
    assert "* `decode` was not run" not in page
    assert page.count(bench["tables"].MISSING) == 14  # those, and what failed


def test_what_it_was_measured_on_is_said(page: str) -> None:
    assert (
        "A Processor, 2 cores, 24 GB, Linux x86_64, CPython 3.11.7, dbnfast 0.1.0, numpy 2.0.0"
    ) in page
    assert (
        "2026-01-05 to 2026-01-06, in 4.5 minutes, while the system's load was 0.5 to 1.25"
    ) in page
    assert "4,000,000 trades, 2,000 TBBO, 2,001 MBO, 500 MBP-10, 1,500 mixed" in page


def test_throughput_is_of_medians(page: str) -> None:
    # 4 M records in 2 s and in 20 s, 48 bytes each
    assert "| decode | 2 M | 0.096 | `slow()` | 200 k | 0.0096 | **10x** |" in page
    assert "| from_csv | 500 | 2.4e-05 | none |  |  |  |" in page


def test_growth_says_what_is_left_out(page: str) -> None:
    assert "| to_df | **20** (10 to 40) | left out (memory: lots) |" in page
    assert "| to_df | **123** (100 before) | left out (memory: lots) |" in page
    assert page.count("| databento to_df | failed |  |") == 2


def test_latency_and_memory(page: str) -> None:
    line = "| 10 k | bare socket | 30 k | 50 / 100 / 150 us | 100 / 200 / 300 us | 2 / 4 / 6 ms |"
    assert page.count(line) == 1
    said = "| iter_decode of 100 and 2000 MiB, peak of what Python allocates | 32.0 and 32.5 MiB |"
    assert said in page


def test_works_of_objects_are_judged_by_their_kind(bench: dict[str, Any]) -> None:
    given = found()
    one = {"group": "records", "of": "TradeMsg", "sort": "code", "n": 2, "ours": 20.0,
           "theirs": 30.0, "median": 1.5, "least": 0.5, "what": "r.side"}  # fmt: skip
    given["objects"] = [
        one,
        {**one, "of": "MBOMsg", "least": 1.25},
        {"group": "records", "of": "MBOMsg", "sort": "making", "n": 1, "ours": 2000.0,
         "what": "pickle.dumps(r)"},
    ]  # fmt: skip
    kinds = {"group": "records", "n": 2, "works": 1004,
             "lowest": [["r.side", 2, 0.98], ["r.price", 7, 0.997]]}  # fmt: skip
    text = bench["report"].page({**given, "kinds": [kinds]}, {})
    assert "1,004 works of 2 kinds; dbnfast is slower with 1 of them." in text
    assert "| `r.side` | 2 | 0.98x |\n| `r.price` | 7 | 0.997x |" in text
    row = "| MBOMsg | code | 2 | 20 ns | 30 ns | **1.5x**, 1.25x | `r.side` |"
    assert text.splitlines().count(row) == 1
    alone = "| MBOMsg | making | 1 | 2 us | none |  | `pickle.dumps(r)` |"
    assert text.splitlines().count(alone) == 1
    kinds["lowest"] = [["r.price", 7, 0.997]]
    said = "1,004 works of 2 kinds; dbnfast is slower with none of them."
    assert said in bench["report"].page({**given, "kinds": [kinds]}, {})


def test_older_measurements_may_lack_what_came_later(bench: dict[str, Any]) -> None:
    new = {**found(), "groups": {"records": {"date": "2026-01-07", "load": 1.0, "seconds": 1.0}}}
    new |= {kind: [] for kind in ("rows", "memory", "growth", "latency")}
    new["objects"] = [{"group": "records", "of": "TradeMsg"}]
    assert "objects" not in found()
    both = bench["measure"].merged(found(), new)
    assert both["objects"] == new["objects"]
    assert both["rows"] == found()["rows"]


def test_a_smoke_run_is_called_one(bench: dict[str, Any]) -> None:
    given = found()
    smoke = bench["tables"].SMOKE
    assert smoke not in bench["report"].page(given, {})
    given["smoke"] = True
    assert smoke in bench["report"].page(given, {})
    assert smoke in bench["tables"].readme(given)


def test_nothing_measured_is_a_page_too(bench: dict[str, Any], tmp_path: Path) -> None:
    given = {**found(), "groups": {}, "rows": [], "memory": [], "growth": [], "latency": []}
    assert bench["plots"].draw(given, tmp_path) == {}
    text = bench["report"].page(given, {})
    assert "* `decode` was not run" in text
    assert "Measured: no group was run." in text
    assert "plots/" not in text
    assert "docs/plots" not in bench["tables"].readme(given)


def test_the_readme_has_the_table_between_its_markers(bench: dict[str, Any]) -> None:
    tables = bench["tables"]
    text = tables.in_readme(f"above\n{tables.BEGIN}\nold\n{tables.END}\nbelow\n", found())
    assert text.startswith(f"above\n{tables.BEGIN}\n![Records in a second")
    assert text.endswith(f"numpy 2.0.0.\n{tables.END}\nbelow\n")
    assert "| missed, near | `slow()` | 2 s | 20 s | **10x** | 12x |" in text
    assert "| no target | `slow()` | 2 s | 20 s | **10x** | reported |" in text
    assert "old" not in text


def test_the_plots_are_the_same_for_the_same_numbers(bench: dict[str, Any], tmp_path: Path) -> None:
    drawn = [bench["plots"].draw(found(), tmp_path / name) for name in ("a", "b")]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == set(bench["report"].PLOTS)
    for name in drawn[0]:
        texts = [(tmp_path / side / f"{name}.svg").read_bytes() for side in ("a", "b")]
        assert texts[0] == texts[1]
        assert b"<dc:date>" not in texts[0]
    words = labels(tmp_path / "a" / "throughput.svg")
    assert {"decode", "from_csv", "0.096 GB/s", "dbnfast", "databento"} <= words
    assert {"met", "missed", "target", "missed, near"} <= labels(tmp_path / "a" / "ratios.svg")
    assert "too late" not in labels(tmp_path / "a" / "ratios.svg")  # its target is no ratio
    assert {"p50", "p99", "p99.9", "bare socket"} <= labels(tmp_path / "a" / "latency.svg")


def labels(path: Path) -> set[str]:
    """The texts of a plot, which are texts and not outlines."""
    root = ElementTree.parse(path).getroot()
    return {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}


def test_the_committed_report_is_of_the_committed_numbers(
    bench: dict[str, Any], tmp_path: Path
) -> None:
    report, tables = bench["report"], bench["tables"]
    results = report.load(report.RESULTS)
    alts = bench["plots"].draw(results, tmp_path)
    committed = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    assert committed == report.page(results, alts)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert readme == tables.in_readme(readme, results)
    assert report.RESULTS.read_text("utf-8") == bench["measure"].dumped(results)
    assert report.RESULTS.stat().st_size < 125_000
    folder = ROOT / "docs" / "plots"
    assert {path.stem for path in folder.glob("*.svg")} == set(alts)
    for name in alts:
        assert labels(folder / f"{name}.svg") == labels(tmp_path / f"{name}.svg")


def test_the_prose_has_no_numbers_of_its_own(bench: dict[str, Any]) -> None:
    text = bench["report"].TEMPLATE.read_text("utf-8")
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    prose = re.sub(r"\$\w+", "", prose).replace("MBP-10", "")
    assert re.findall(r".*\d.*", prose) == []


def test_it_is_written_where_a_group_failed(
    bench: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = tmp_path / "bench.json", tmp_path / "out"
    given.write_text(bench["measure"].dumped(found()))
    assert bench["report"].main(["--from", str(given), "--out", str(out)]) == 1
    assert "failed: encode" in capsys.readouterr().err
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    plots = {str(Path("plots", f"{name}.svg")) for name in bench["report"].PLOTS}
    assert names == {"benchmarks.md", "README.md", "results.json", *plots}
    assert json.loads((out / "results.json").read_text()) == found()
    whole = found()
    del whole["groups"]["encode"]["error"]
    given.write_text(bench["measure"].dumped(whole))
    assert bench["report"].main(["--from", str(given), "--out", str(out)]) == 0


def test_a_part_does_not_replace_the_whole(
    bench: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Compare:
        @staticmethod
        def options(parser: Any) -> None:
            parser.add_argument("--smoke", action="store_true")
            parser.add_argument("--only")

    monkeypatch.setitem(sys.modules, "compare", Compare)  # the other one imports every peer
    with pytest.raises(SystemExit):
        bench["report"].main(["--only", "feed"])
    assert "add --from or --out" in capsys.readouterr().err


def test_a_document_of_another_format_is_refused(bench: dict[str, Any], tmp_path: Path) -> None:
    given = tmp_path / "bench.json"
    given.write_text(bench["measure"].dumped({**found(), "format": 0}))
    with pytest.raises(SystemExit, match="format 0, expected 1"):
        bench["report"].load(given)


def test_a_group_that_fails_keeps_what_it_found(
    bench: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[Any] = []
    calls: list[str] = []
    made = bench["measure"].Bench(3, show=shown.append)

    def group(of: Any) -> None:
        of.pair("w", "p", 2, lambda: calls.append("a"), lambda: calls.append("b"), runs=2)
        raise OSError("no room\nfor it")

    assert not made.run(group)
    assert "OSError: no room" in capsys.readouterr().err
    assert calls == ["a", "b"] * 3  # in turn, the first does not count
    (kept,) = made.found["rows"]
    assert kept["group"] == "group"
    assert len(kept["ours"]) == len(kept["theirs"]) == 2
    assert [row.work for row in shown] == ["w"]
    assert made.groups["group"]["error"] == "OSError: no room for it"
    document = bench["measure"].document(made, {})
    assert json.loads(bench["measure"].dumped(document)) == json.loads(json.dumps(document))


def test_groups_measured_again_replace_their_older_selves(bench: dict[str, Any]) -> None:
    old, measure = found(), bench["measure"]
    again = row("decode", "anew", target=1.0)
    new = {
        **copy.deepcopy(old), "groups": {"decode": {"load": 9.0}, "feed": {"load": 9.0}},
        "rows": [again, row("feed", "more")], "memory": [], "growth": [], "latency": [],
    }  # fmt: skip
    both = measure.merged(old, new)
    works = [one["work"] for one in both["rows"]]
    assert works[:2] == ["anew", "decode trades"]
    assert works[-1] == "more"
    assert len(works) == len(old["rows"]) - 4 + 2
    assert both["groups"]["decode"] == {"load": 9.0}
    assert both["groups"]["roads"] == old["groups"]["roads"]
    assert both["latency"] == old["latency"]
    with pytest.raises(measure.NotAlikeError, match="another machine"):
        measure.merged(old, {**new, "smoke": True})


def test_growth_leaves_out_what_would_take_too_long(bench: dict[str, Any], tmp_path: Path) -> None:
    growth, path = bench["growth"], tmp_path / "input.dbn"
    path.write_bytes(bytes(1000))
    made = bench["measure"].Bench(3)
    before = {"size": 10, "seconds": [3.0, 0.5], "base": 100, "peak": 100}
    left = growth.measured("decode, mapped", path, path, before, made)
    assert left == {"left_out": "time: about 50 s expected"}
    before = {"size": 10, "seconds": [0.001], "base": 0, "peak": 10**13}
    left = growth.measured("decode, mapped", path, path, before, made)
    assert left == {"left_out": "memory: about 1000000.0 GB expected"}
    failed = growth.measured("decode, mapped", path, path, None, made)
    assert failed.keys() == {"error"}
    assert "Error" in failed["error"]


def test_growth_measures_a_process(bench: dict[str, Any], tmp_path: Path) -> None:
    growth, path = bench["growth"], tmp_path / "input.dbn"
    head, records = growth.data.metadata("mbo").encode(), growth.data.records("mbo", 100).tobytes()
    growth.fill(path, head, records, 20_000)
    assert 19_900 < path.stat().st_size <= 20_000
    assert growth.dbnfast.decode(path.read_bytes())["sequence"][:101].tolist() == [*range(100), 0]
    one = growth.measured("iter_decode", path, path, None, bench["measure"].Bench(3))
    assert len(one["seconds"]) == growth.RUNS
    assert one["peak"] >= one["base"] > 1_000_000


@pytest.mark.parametrize(
    ("now", "good"),
    [
        ({"decode": 100.0, "split": 50.0}, True),
        ({"decode": 101.9, "split": 10.0}, True),
        ({"decode": 102.1, "split": 50.0}, False),
        ({"decode": 100.0}, False),
        ({"decode": 100.0, "split": 50.0, "feed": 1.0}, False),
    ],
)
def test_more_instructions_are_a_failure(
    bench: dict[str, Any], now: dict[str, float], good: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench["instructions"].compare(now, {"decode": 100.0, "split": 50.0}) is good
    assert capsys.readouterr().out.count("\n") == 1 + len({**now, "decode": 0, "split": 0})
