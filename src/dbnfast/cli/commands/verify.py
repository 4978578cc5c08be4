"""``dbnfast verify``: what is wrong with files, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbnfast.cli.format import printable
from dbnfast.cli.inputs import each
from dbnfast.cli.outputs import Progress, plural
from dbnfast.cli.terminal import explain, put, put_heading, put_json, put_table
from dbnfast.errors import DbnError
from dbnfast.files import SEVERITIES, verify

if TYPE_CHECKING:
    from dbnfast.cli.terminal import Input
    from dbnfast.files import Report


def run(inputs: list[Input], *, symbols: bool, strict: bool, as_json: bool) -> int:
    """
    Tell what is wrong with inputs.

    Parameters
    ----------
    inputs : list of Input
        The inputs, one after the other; one that cannot be read does not stop the rest.
    symbols : bool
        Whether instrument ids are looked up in the header's mappings.
    strict : bool
        Whether warnings count as damage.
    as_json : bool
        Whether to write one JSON object an input.

    Returns
    -------
    int
        0 where all are sound, 1 where one is damaged or cannot be read.
    """
    code = 0
    for number, source in enumerate(each(inputs)):
        try:
            with Progress([source], to_stdout=True) as progress, source.raw(progress.told) as raw:
                report = verify(
                    raw,  # type: ignore[arg-type]  # has readinto, which is all that is asked
                    check_symbols=symbols,
                    has_metadata=not source.fragment,
                    input_version=source.version,
                    ts_out=source.ts_out or None,
                )
        except (DbnError, OSError) as error:
            code = explain(source.name, error)
            continue
        warned = any(finding.severity == "warning" for finding in report.findings)
        if not report.ok or (strict and warned):
            code = 1
        if as_json:
            put_json(_plain(source.name, report))
        else:
            if number:
                put("")
            _put(source.name, report)
    return code


def _plain(name: str, report: Report) -> dict[str, Any]:
    return {
        "file": name,
        "ok": report.ok,
        "records": report.records,
        "bytes": report.n_bytes,
        "counts": {str(int(key)): n for key, n in report.counts.items()},
        "findings": [finding._asdict() for finding in report.findings],
    }


def _put(name: str, report: Report) -> None:
    put_heading(printable(name))
    severities = [finding.severity for finding in report.findings]
    named = ", ".join(
        f"{severities.count(key)} {key}{'s' * (key != 'damage' and severities.count(key) != 1)}"
        for key in SEVERITIES
        if key in severities
    )
    verdict = ("sound" if report.ok else "damaged") + (f": {named}" if named else "")
    put(f"  {verdict}")
    put(f"  {plural(report.records, 'record')}, {report.n_bytes:,} bytes decompressed")
    if report.findings:
        put("")
        lines = (
            (f.severity, f.kind, _number(f.offset), _number(f.record_index), f.text)
            for f in report.findings
        )
        names = ("what", "kind", "byte", "record", "found")
        put_table(names, lines, {"what", "kind", "found"}, "  ")


def _number(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"
