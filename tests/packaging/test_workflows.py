"""What holds for the workflows beyond what their own checkers see."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.places import ROOT

FOLDER = ROOT / ".github" / "workflows"
PATHS = sorted(FOLDER.glob("*.yml"))
USES = re.compile(r"^\s*(?:- )?uses:\s*(.+)$", re.MULTILINE)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*")
OWN = re.compile(r"\$/\.github/workflows/([\w-]+\.yml)")
MAKE = re.compile(r"^\s*(?:step )?(?:env (?:\w+=\S+ )+)?make ([^#\n]+)", re.MULTILINE)

RUNNERS = {  # what cibuildwheel builds there
    "ubuntu-latest": "linux x86_64",
    "ubuntu-24.04-arm": "linux aarch64",
    "macos-15-intel": "macos x86_64",
    "macos-latest": "macos arm64",
    "windows-latest": "windows amd64",
    "windows-11-arm": "windows arm64",
}

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="only a part of the tree is here")


def load(path: Path) -> dict[str, Any]:
    """A document with all its scalars as text: `on` and `3.10` stay what is written."""
    document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert isinstance(document, dict)
    return document


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in PATHS:
        for name, job in load(path)["jobs"].items():
            yield path.name, name, job


JOBS = list(jobs()) if FOLDER.is_dir() else []
job_cases = pytest.mark.parametrize(
    ("file", "name", "job"), JOBS, ids=[f"{file}:{name}" for file, name, _ in JOBS]
)
file_cases = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)


def make_targets(text: str) -> set[str]:
    """The targets of all calls of make in a script: neither options nor variables."""
    words = [word for line in MAKE.findall(text) for word in line.split()]
    return {word for word in words if "=" not in word and not word.startswith("-")}


def makefile_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][\w-]*):", text, re.MULTILINE))


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_all_workflows_are_there() -> None:
    names = {"benchmarks.yml", "ci.yml", "release.yml", "wheels.yml"}
    assert {path.name for path in FOLDER.iterdir()} == names


@file_cases
def test_actions_are_pinned_by_commit_with_the_version_behind_it(path: Path) -> None:
    used = USES.findall(path.read_text(encoding="utf-8"))
    assert used
    for value in used:
        own = OWN.fullmatch(value)
        assert PINNED.fullmatch(value) or (own and (FOLDER / own[1]).is_file()), value


def test_one_action_has_one_pin() -> None:
    pins: dict[str, set[str]] = {}
    for path in PATHS:
        for value in USES.findall(path.read_text(encoding="utf-8")):
            pins.setdefault(value.partition("@")[0], set()).add(value)
    assert [action for action, values in pins.items() if len(values) > 1] == []


@file_cases
def test_nothing_is_permitted_at_the_top(path: Path) -> None:
    assert load(path)["permissions"] == {}


@file_cases
def test_runs_do_not_pile_up(path: Path) -> None:
    group = load(path)["concurrency"]["group"]
    assert group == path.stem + "-${{ github.ref }}"  # a caller's must not be that of the called


@job_cases
def test_jobs_end_and_say_what_they_may(file: str, name: str, job: dict[str, Any]) -> None:
    assert "permissions" in job
    if "uses" in job:  # the called workflow's jobs have their own limits
        assert OWN.fullmatch(job["uses"])
    else:
        assert 1 <= int(job["timeout-minutes"]) <= 90


@job_cases
def test_a_matrix_goes_on_where_one_fails(file: str, name: str, job: dict[str, Any]) -> None:
    if "strategy" in job:
        assert job["strategy"]["fail-fast"] == "false"


@job_cases
def test_only_the_upload_may_write(file: str, name: str, job: dict[str, Any]) -> None:
    granted = {key for key, value in job["permissions"].items() if value != "read"}
    assert granted == ({"id-token"} if (file, name) == ("release.yml", "publish") else set())
    assert ("environment" in job) == bool(granted)


@job_cases
def test_no_credentials_stay_behind(file: str, name: str, job: dict[str, Any]) -> None:
    for step in job.get("steps", ()):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


def test_the_gate_needs_every_job_and_takes_success_alone() -> None:
    every = load(FOLDER / "ci.yml")["jobs"]
    gate = every.pop("all-green")
    assert set(gate["needs"]) == set(every)
    assert gate["if"] == "always()"
    (step,) = gate["steps"]
    assert step["run"] == "exit 1"
    refused = re.findall(r"contains\(needs\.\*\.result, '(\w+)'\)", step["if"])
    assert refused == ["failure", "cancelled", "skipped"]
    assert step["if"].count("||") == 2


def test_no_job_before_the_gate_is_skipped_or_forgiven() -> None:
    every = load(FOLDER / "ci.yml")["jobs"]
    for name, job in every.items():
        assert name == "all-green" or "if" not in job
        assert "continue-on-error" not in str(job)
        assert name == "all-green" or all("if" not in step for step in job["steps"])


@pytest.mark.parametrize(
    "path", [*PATHS, ROOT / ".ci" / "run", ROOT / ".pre-commit-config.yaml"], ids=lambda p: p.name
)
def test_make_knows_what_it_is_asked_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    asked = make_targets(re.sub(r"^\s*(?:- )?(?:run|entry): ", "", text, flags=re.MULTILINE))
    assert asked or path.name == "release.yml"
    assert asked <= makefile_targets()


def test_workflows_run_what_make_runs() -> None:
    asked = set().union(*(make_targets(step["run"]) for step in _runs("ci.yml")))
    gates = {"lint", "test", "minimum", "debug", "sanitize", "coverage", "fuzz", "docs", "sdist"}
    assert gates <= asked
    for step in _runs("ci.yml"):
        assert step["run"].startswith("make ") or step["run"] == "exit 1"


def _steps(file: str, job: str) -> list[dict[str, Any]]:
    return [step for step in load(FOLDER / file)["jobs"][job]["steps"] if "uses" in step]


def _runs(file: str) -> list[dict[str, str]]:
    steps = [step for job in load(FOLDER / file)["jobs"].values() for step in job.get("steps", ())]
    return [step for step in steps if "run" in step]


def _pythons(job: str) -> set[str]:
    return set(load(FOLDER / "ci.yml")["jobs"][job]["strategy"]["matrix"]["python"])


def test_the_matrix_is_what_the_package_says_of_itself() -> None:
    head = "Programming Language :: Python :: 3."
    said = [line for line in pyproject()["project"]["classifiers"] if line.startswith(head)]
    assert _pythons("test") == {f"3.{line.removeprefix(head)}" for line in said}
    lowest = min(_pythons("test"), key=lambda version: int(version.partition(".")[2]))
    assert pyproject()["project"]["requires-python"] == f">={lowest}"


def test_wheels_are_built_for_what_is_tested() -> None:
    build = pyproject()["tool"]["cibuildwheel"]["build"]
    chosen = build.split() if isinstance(build, str) else build
    built = {
        f"{match[1]}.{match[2]}"
        for one in chosen
        if (match := re.fullmatch(r"cp(3)(\d+t?)-\*", one))
    }
    assert len(built) == len(chosen)
    assert built == _pythons("test") | _pythons("free-threaded")


def test_platforms_of_the_tests_have_wheels() -> None:
    tested = load(FOLDER / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]["os"]
    built = load(FOLDER / "wheels.yml")["jobs"]["wheels"]["strategy"]["matrix"]["os"]
    assert set(tested) <= set(built)
    assert {name.partition("-")[0] for name in tested} == {"ubuntu", "macos", "windows"}


def test_every_machine_has_its_runner() -> None:
    built = load(FOLDER / "wheels.yml")["jobs"]["wheels"]["strategy"]["matrix"]["os"]
    assert sorted(built) == sorted(RUNNERS)  # cibuildwheel builds for the runner's own machine
    assert len(set(RUNNERS.values())) == len(RUNNERS)


def test_cibuildwheel_is_the_one_that_was_asked_for_its_identifiers() -> None:
    (step,) = (step for step in _steps("wheels.yml", "wheels") if "cibuildwheel@" in step["uses"])
    said = re.search(
        r"cibuildwheel@\S+ # v(\d+)\.(\d+)", (FOLDER / "wheels.yml").read_text("utf-8")
    )
    assert said
    (wanted,) = (one for one in pyproject()["dependency-groups"]["wheels"] if "cibuild" in one)
    assert wanted == f"cibuildwheel>={said[1]}.{said[2]},<{said[1]}.{int(said[2]) + 1}"
    frontend = pyproject()["tool"]["cibuildwheel"]["build-frontend"]
    assert ("uv" in frontend) == (step["with"].get("extras") == "uv")


def test_what_is_kept_of_the_benchmarks_is_what_they_write() -> None:
    (step,) = (
        step for step in _steps("benchmarks.yml", "report") if "path" in step.get("with", {})
    )
    source = (ROOT / "benchmarks" / "report.py").read_text("utf-8")
    for path in step["with"]["path"].split():
        assert f'"{Path(path).name}"' in source, path


def test_a_release_is_checked_then_built_then_uploaded_without_caches() -> None:
    release = load(FOLDER / "release.yml")
    assert release["on"] == {"push": {"tags": ["v*"]}}
    assert release["jobs"]["wheels"]["needs"] == "check"
    assert set(release["jobs"]["publish"]["needs"]) == {"check", "wheels"}
    assert release["jobs"]["publish"]["environment"]["name"] == "pypi"
    for file in ("release.yml", "wheels.yml"):
        assert "cache" not in (FOLDER / file).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("tag", "head", "n_said"),
    [
        ("v1.2.3", "## 1.2.3 - 2026-12-01", 0),
        ("v1.2.3", "## 1.2.3", 0),
        ("1.2.3", "## 1.2.3", 1),
        ("v1.2.4", "## 1.2.3", 1),
        ("v1.2.3", "## Unreleased", 1),
        ("v1.2.3", "no heading", 1),
        ("v1.2.4", "## 1.2.4", 2),
    ],
)
def test_a_tag_is_the_version_and_the_changelogs_head(
    tmp_path: Path, tag: str, head: str, n_said: int
) -> None:
    (tmp_path / "src" / "dbnfast").mkdir(parents=True)
    version = tmp_path / "src" / "dbnfast" / "version.py"
    version.write_text('"""The version."""\n\n__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{head}\n\n## 1.2.2 - 2026-01-01\n")
    complaints = runpy.run_path(str(ROOT / ".ci" / "tag.py"))["complaints"]
    assert len(complaints(tag, tmp_path)) == n_said


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["v0.0.0"], 1)])
def test_a_wrong_tag_fails_the_command(arguments: list[str], status: int) -> None:
    command = [sys.executable, str(ROOT / ".ci" / "tag.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr.strip()
