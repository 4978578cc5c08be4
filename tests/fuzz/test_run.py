"""What `make fuzz` makes of libFuzzer's output."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import run

OUTPUT = """\
INFO: Loaded 14 modules   (44983 inline 8-bit counters): 4594 [0x7f58f1f41290, 0x7f58f1f42482)
#64\tpulse  cov: 2080 ft: 5585 corp: 31/12663b exec/s: 10 rss: 705Mb
#508\tDONE   cov: 2343 ft: 8262 corp: 154/181Kb lim: 3809 exec/s: 3 rss: 1149Mb
stat::number_of_executed_units: 508
stat::average_exec_per_sec:     16
COVERED_FUNC: hits: 2 edges: 3/9 __pyx_f_7dbnfast_5_core_4scan_survey /b/_core/scan.c:1
COVERED_FUNC: hits: 2 edges: 3/9 __Pyx_NewRef /b/_core/scan.c:7
UNCOVERED_FUNC: hits: 0 edges: 0/9 __pyx_f_7dbnfast_5_core_4scan_resume /b/_core/scan.c:9
"""


def test_the_output_is_read() -> None:
    outcome = run.told("scan", OUTPUT)
    assert (outcome.executions, outcome.speed, outcome.edges) == (508, 16, 2343)
    assert (outcome.corpus, outcome.counters) == (154, 44983)
    row, reached = run.lines_of(outcome)
    assert row.split() == ["scan", "508", "16", "2,343", "154", "0"]
    assert reached.strip() == "functions of the core: scan 1/2"


def test_what_was_found_is_named() -> None:
    outcome = run.told("scan", "#7\tpulse  cov: 9 ft: 1 corp: 1/1b exec/s: 10 rss: 1Mb\n")
    assert (outcome.executions, outcome.counters) == (7, 0)
    outcome.found = [Path("build/fuzz/findings/scan/crash-1")]
    row, path = run.lines_of(outcome)
    assert row.split()[-1] == "1"
    assert path.strip() == "build/fuzz/findings/scan/crash-1"
    outcome.failed = "ended with 1"
    assert next(run.lines_of(outcome)).endswith("ended with 1")


def test_a_target_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["run", "nothing"])
    with pytest.raises(SystemExit, match="no target 'nothing'; there are metadata scan"):
        run.arguments()
