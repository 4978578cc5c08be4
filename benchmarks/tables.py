"""What was measured, as Markdown: nothing here measures, and every number is of the document."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from measure import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HEAD = "| work | against | dbnfast | peer | ratio | target |\n|---|---|---|---|---|---|"
LONG = "work | against | dbnfast | peer | ratio | target | met"
SMOKE = "**A smoke run, on little data: its numbers say that everything works, no more.**"
MISSING = "*Not measured in this run.*"
CLIENTS = {
    "dbnfast": "`dbnfast.Live`, batches",
    "databento": "`databento.Live`, callback",
    "socket": "bare socket",
}
MET = {True: "yes", False: "**no**", None: ""}
EVEN = 0.995  # a ratio that is not less is 1.00 to two digits: so much differs between runs
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def rows(found: dict[str, Any]) -> list[Row]:
    """Give the rows of a document."""
    return [Row.of(row) for row in found["rows"]]


def line(row: Row) -> str:
    """Write a row in short: the medians, the ratio, the target."""
    ours, theirs = map(statistics.median, (row.ours, row.theirs))
    return (
        f"| {row.work} | {row.peer} | {span(ours)} | {span(theirs)} | "
        f"**{times(row.ratio)}** | {target(row) or 'reported'} |"
    )


def span(seconds: float) -> str:
    """Write a time."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{number(seconds * scale)} {unit}"
    return f"{number(seconds * 1e9)} ns"


def number(value: float) -> str:
    """Write three digits, or all before the point."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def times(ratio: float) -> str:
    """Write a ratio."""
    return f"{number(ratio)}x"


def spread(values: Iterable[float]) -> str:
    """Write the least, the median and the greatest of some times, in the unit of the median."""
    low, *_, high = ordered = sorted([*values] * 2)
    middle = statistics.median(ordered)
    unit, scale = next(
        (pair for pair in (("s", 1.0), ("ms", 1e3), ("us", 1e6)) if middle * pair[1] >= 1),
        ("ns", 1e9),
    )
    low, middle, high = (value * scale for value in (low, middle, high))
    return f"{number(low)} / {number(middle)} / {number(high)} {unit}"


def target(row: Row) -> str:
    """Write a row's target; nothing where there is none."""
    if row.target is not None:
        return f"{row.target:g}x"
    if row.most is not None:
        return f"at most {span(row.most)}"
    return "" if row.more is None else f"at most {span(row.more)} more"


def table(head: str, lines: Iterable[Iterable[str]]) -> str:
    """Write a table; where it would be empty, say so."""
    written = [f"| {' | '.join(cells)} |" for cells in lines]
    if not written:
        return MISSING
    rule = "|" + "---|" * (head.count("|") + 1)
    return "\n".join([f"| {head} |", rule, *written])


def of_groups(found: dict[str, Any], *groups: str) -> str:
    """Write the rows of some groups, with all that is known of their runs."""
    chosen = (row for row in rows(found) if row.group in groups)
    return table(LONG, (long(row) for row in chosen))


def long(row: Row) -> list[str]:
    """Write the cells of a row."""
    low, high = row.spread
    ratio = f"**{times(row.ratio)}** ({times(low)} to {times(high)})"
    return [row.work, row.peer, spread(row.ours), spread(row.theirs), ratio, target(row),
            MET[row.met]]  # fmt: skip


def roads(found: dict[str, Any]) -> list[Row]:
    """Give the rows that stand for a road, each road once, the fastest first."""
    once = {row.road.name: row for row in rows(found) if row.road is not None}
    return sorted(once.values(), key=rate, reverse=True)


def rate(row: Row, *, official: bool = False) -> float:
    """Tell the records in a second of a road."""
    assert row.road is not None
    return row.road.records / statistics.median(row.theirs if official else row.ours)


def throughput(found: dict[str, Any]) -> str:
    """Write records/s and GB/s of each road."""

    def cells(row: Row) -> Iterator[str]:
        assert row.road is not None
        yield f"{row.road.name}"
        yield from flow(rate(row), row.road.size / row.road.records)
        if row.road.official:
            yield row.peer
            yield from flow(rate(row, official=True), row.road.size / row.road.records)
            yield f"**{times(row.ratio)}**"
        else:
            yield from ("none", "", "", "")

    head = "road | dbnfast: records/s | GB/s | databento | records/s | GB/s | ratio"
    return table(head, map(cells, roads(found)))


def flow(rate: float, size: float) -> tuple[str, str]:
    """Write records/s, and what is that in GB/s."""
    return count(rate), f"{rate * size / 1e9:.3g}"


def count(value: float) -> str:
    """Write a number of many digits in short."""
    for unit, scale in (("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{number(value / scale)} {unit}"
    return number(value)


def growth_roads(found: dict[str, Any]) -> dict[str, dict[float, dict[str, Any]]]:
    """Give what was found of each road, by the size in MB."""
    by_road: dict[str, dict[float, dict[str, Any]]] = {}
    for one in found["growth"]:
        size = float(f"{one['size'] / 1e6:.2g}")
        by_road.setdefault(one["road"], {})[size] = one
    return by_road


def growth_time(found: dict[str, Any]) -> str:
    """Write the time for each GB as the input grows."""

    def cell(one: dict[str, Any]) -> str:
        per_gb = [seconds / one["size"] * 1e9 for seconds in one["seconds"]]
        low, middle, high = min(per_gb), statistics.median(per_gb), max(per_gb)
        shown = f"**{number(middle)}**"
        return shown if len(per_gb) == 1 else f"{shown} ({number(low)} to {number(high)})"

    return _growth(found, "seconds for each GB of", cell)


def growth_memory(found: dict[str, Any]) -> str:
    """Write the peak of the process as the input grows."""
    return _growth(
        found,
        "MB at the peak, of",
        lambda one: f"**{one['peak'] / 1e6:.0f}** ({one['base'] / 1e6:.0f} before)",
    )


def _growth(found: dict[str, Any], head: str, cell: Any) -> str:
    by_road = growth_roads(found)
    sizes = sorted({size for found_of in by_road.values() for size in found_of})

    def shown(one: dict[str, Any] | None) -> str:
        if one is None:
            return ""
        if "seconds" in one:
            return str(cell(one))
        return f"left out ({one['left_out']})" if "left_out" in one else "failed"

    lines = ([road, *(shown(of.get(size)) for size in sizes)] for road, of in by_road.items())
    return table(" | ".join([head, *(f"{size:g} MB" for size in sizes)]), lines)


def latency(found: dict[str, Any], percentiles: Iterable[float] = (50, 99, 99.9)) -> str:
    """Write percentiles of latency as the rate grows."""

    def cell(one: dict[str, Any], p: float) -> str:
        at = found["settings"]["percentiles"].index(p)
        return spread(run[at] for run in one["runs"])

    wanted = list(percentiles)
    lines = (
        [count(one["rate"]), CLIENTS[one["who"]], count(one["records"])]
        + [cell(one, p) for p in wanted]
        for one in found["latency"]
    )
    head = "records/s | client | records of a run"
    return table(" | ".join([head, *(f"p{p:g}" for p in wanted)]), lines)


def objects(found: dict[str, Any]) -> str:
    """Write what can be done with each class of records, and each enumeration."""

    def cells(one: dict[str, Any]) -> list[str]:
        if "theirs" not in one:
            return [one["of"], one["sort"], "1", ns(one["ours"]), "none", "", f"`{one['what']}`"]
        ratios = f"**{times(one['median'])}**, {times(one['least'])}"
        return [one["of"], one["sort"], str(one["n"]), ns(one["ours"]), ns(one["theirs"]), ratios,
                f"`{one['what']}`"]  # fmt: skip

    head = "class | sort | works | dbnfast | databento | ratio: median, lowest | the lowest is of"
    return table(head, map(cells, found.get("objects", ())))


def objects_short(found: dict[str, Any]) -> str:
    """Say how many works there are, of which kinds, and which of these are slower."""
    if not found.get("kinds"):
        return MISSING
    (kinds,) = found["kinds"]
    rows = [[f"`{kind}`", str(n), f"{ratio:.3g}x"] for kind, n, ratio in kinds["lowest"]]
    slower = sum(ratio < EVEN for _, _, ratio in kinds["lowest"])
    how = f"slower with {slower} of them" if slower else "slower with none of them"
    said = f"{kinds['works']:,} works of {kinds['n']} kinds; dbnfast is {how}. The lowest:"
    return f"{said}\n\n{table('kind | works | ratio, their median', rows)}"


def ns(value: float) -> str:
    """Write a time that is in ns."""
    return span(value / 1e9)


def memory(found: dict[str, Any]) -> str:
    """Write the peaks of memory."""
    return table(
        "memory | ",
        (
            [
                f"{one['what']} of {listed(one['sizes'])} MiB, peak of "
                + {"Python": "what Python allocates", "process": "the process"}[one["seen"]],
                f"{listed(one['peaks'])} MiB",
            ]
            for one in found["memory"]
        ),
    )


def listed(values: Iterable[Any]) -> str:
    """Write a list in words."""
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def machine(found: dict[str, Any]) -> str:
    """Say what the numbers were measured on."""
    about = found["machine"]
    memory = "" if about["memory_gb"] is None else f", {about['memory_gb']:g} GB"
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (
        f"{about['processor']}, {about['cores']} cores{memory}, {about['system']}, "
        f"{about['python']}, {packages}"
    )


def plot(name: str, alt: str, folder: str) -> str:
    """Write the link to a plot."""
    return f"![{alt}]({folder}/{name}.svg)"


def readme(found: dict[str, Any], folder: str = "docs/plots") -> str:
    """Write what README.md shows."""
    parts = [f"{HEAD}\n" + "\n".join(map(line, rows(found))) if found["rows"] else MISSING]
    if roads(found):
        parts.insert(0, plot("throughput", throughput_alt(found), folder))
    if found["smoke"]:
        parts.insert(0, SMOKE)
    parts += [memory(found), f"Measured on: {machine(found)}."]
    return "\n\n".join(parts)


def in_readme(text: str, found: dict[str, Any]) -> str:
    """Put what README.md shows between its markers."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{readme(found)}\n{END}{after}"


def throughput_alt(found: dict[str, Any]) -> str:
    """Say in words what the plot of throughput shows."""
    said = []
    for row in roads(found):
        assert row.road is not None
        his = f" against {count(rate(row, official=True))}" if row.road.official else ""
        said.append(f"{row.road.name} {count(rate(row))}{his}")
    return "Records in a second of dbnfast, against databento: " + "; ".join(said)
