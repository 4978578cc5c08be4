"""What was measured, as SVG: readable on light and dark, the same for the same numbers."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

import tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes

TEXT = "#7b7f86"  # as far from white as from a dark page
GRID = "#7b7f8640"
# blue, vermilion, green, purple, ochre: told apart by all eyes, on both pages
BLUE, RED, GREEN, PURPLE, OCHRE = "#2a86c8", "#d55e00", "#0c9c76", "#b8659a", "#b58900"
WIDE = 5.8  # inches: small, so that a phone shows the letters large enough
LONGEST = 42  # characters of the name of a work, so that there is room for what is drawn
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dbnfast",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": 12,
    "axes.titlesize": 13,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
CLIENTS = {"dbnfast": (BLUE, "o", "-"), "databento": (RED, "s", "--"), "socket": (TEXT, "^", ":")}
ROADS = {
    "decode, mapped": (BLUE, "o"), "iter_decode": (PURPLE, "v"), "to_df": (GREEN, "s"),
    "to_parquet": (OCHRE, "D"), "to_csv": (RED, "^"),
    "databento to_ndarray": (BLUE, "o"), "databento to_df": (GREEN, "s"),
    "databento to_parquet": (OCHRE, "D"), "databento to_csv": (RED, "^"),
}  # fmt: skip
SHOWN_RATES = (10_000, 100_000, 1_000_000)


def draw(found: dict[str, Any], folder: Path) -> dict[str, str]:
    """Draw what there is; the plots' names, each with what it shows in words."""
    drawn: dict[str, str] = {}
    makers: dict[str, Callable[[dict[str, Any]], tuple[Figure, str] | None]] = {
        "throughput": throughput, "ratios": ratios, "growth": growth, "latency": latency,
        "percentiles": percentiles,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in makers.items():
        path = folder / f"{name}.svg"
        with mpl.rc_context(STYLE):
            made = make(found)
            if made is None:
                path.unlink(missing_ok=True)  # an older one would be of other numbers
                continue
            figure, drawn[name] = made
            figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
        lines = path.read_text("utf-8").splitlines()
        path.write_text("\n".join(line.rstrip() for line in lines) + "\n", "utf-8", newline="\n")
    return drawn


def logarithmic(axes: Axes, name: str, write: Callable[[float], str]) -> None:
    """Make one of the axes logarithmic, x or y, with few words that `write` writes."""
    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_formatter(NullFormatter())


def legend(figure: Figure, handles: list[Line2D], columns: int) -> None:
    """Put the legend above everything, where it covers nothing."""
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=2.2)


def key(label: str, color: str, marker: str, style: str, *, hollow: bool = False) -> Line2D:
    """Make a line of a legend."""
    face = "none" if hollow else color
    return Line2D([], [], color=color, marker=marker, linestyle=style, label=label,
                  markerfacecolor=face)  # fmt: skip


def throughput(found: dict[str, Any]) -> tuple[Figure, str] | None:
    """Records in a second, of each road."""
    rows = tables.roads(found)
    if not rows:
        return None
    figure = Figure((WIDE, 1.3 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for at, row in enumerate(rows):
        assert row.road is not None
        ours = tables.rate(row)
        if row.road.official:
            theirs = tables.rate(row, official=True)
            axes.plot([theirs, ours], [at, at], color=GRID, linewidth=4, zorder=1)
            axes.plot(theirs, at, "s", color=RED, markersize=7)
        axes.plot(ours, at, "o", color=BLUE, markersize=8)
        flow = tables.flow(ours, row.road.size / row.road.records)[1]
        axes.annotate(f"{flow} GB/s", (ours, at), (8, 0), textcoords="offset points",
                      va="center", fontsize=10)  # fmt: skip
    axes.set_yticks(range(len(rows)), [row.road.name for row in rows if row.road is not None])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    logarithmic(axes, "x", tables.count)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * (high / low) ** 0.22)  # room for what is written at the last point
    axes.set_xlabel("records in a second")
    legend(figure, [key("dbnfast", BLUE, "o", ""), key("databento", RED, "s", "")], 2)
    return figure, tables.throughput_alt(found)


def ratios(found: dict[str, Any]) -> tuple[Figure, str] | None:
    """Each ratio with its spread, and its target."""
    rows = [row for row in tables.rows(found) if row.target is not None]
    if not rows:
        return None
    figure = Figure((WIDE, 1.3 + 0.29 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for at, row in enumerate(rows):
        color, marker = (BLUE, "o") if row.met else (RED, "X")
        axes.plot(row.spread, [at, at], color=color, linewidth=2, alpha=0.6)
        axes.plot(row.ratio, at, marker, color=color, markersize=7)
        axes.plot(row.target, at, "|", color=TEXT, markersize=12, markeredgewidth=2)
    axes.set_yticks(range(len(rows)), [short(row.work) for row in rows], fontsize=10)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    logarithmic(axes, "x", tables.times)
    axes.set_xlabel("peer / dbnfast")
    keys = [key("met", BLUE, "o", "-"), key("missed", RED, "X", "-"), key("target", TEXT, "|", "")]
    legend(figure, keys, 3)
    n_met = sum(bool(row.met) for row in rows)
    return figure, f"Ratios, spreads and targets of {len(rows)} rows, of which {n_met} meet it"


def short(work: str) -> str:
    """Write the name of a work in less room."""
    for long, brief in (
        (", time of 1 M records", ""), (", pieces in cache", ", cached"), ("`", ""),
        (", pieces from memory", ", memory"), ("live latency at ", "latency "),
        (" records/s", "/s"), ("a mixed stream", "mixed"),
        ("mixed file -> trades array", "mixed file to trades"),
        ("Record made, three fields read", "three fields"), (" the size", ""),
        (" at 25 ms and 80 MB/s a connection, decoded in blocks of 16 MiB", " in an object store"),
        ("16 days of 500,000 trades as .dbn.zst, by symbol and hour: dask.read, 2 workers",
         "dask.read, 16 days by symbol and hour"),
        ("16 days of trades", "16 days"), (", seekable zstd file", ", seekable"),
        ("four values of levels[0]", "levels[0]"),
    ):  # fmt: skip
        work = work.replace(long, brief)
    return work if len(work) <= LONGEST else f"{work[: LONGEST - 1]}…"


def growth(found: dict[str, Any]) -> tuple[Figure, str] | None:
    """Time for each GB and peak of memory, as the input grows."""
    by_road = tables.growth_roads(found)
    if not any("seconds" in one for of in by_road.values() for one in of.values()):
        return None
    figure = Figure((WIDE, 8.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    keys = []
    for road, of in by_road.items():
        points = sorted((size, one) for size, one in of.items() if "seconds" in one)
        if not points:
            continue
        color, marker = ROADS[road]
        official = road.startswith("databento")
        style: dict[str, Any] = {
            "color": color, "marker": marker, "linestyle": "--" if official else "-",
            "markerfacecolor": "none" if official else color,
        }  # fmt: skip
        sizes = [size * 1e6 for size, _ in points]
        times = [statistics.median(one["seconds"]) / one["size"] * 1e9 for _, one in points]
        above.plot(sizes, times, **style)
        below.plot(sizes, [one["peak"] for _, one in points], **style)
        keys.append(Line2D([], [], label=road, **style))
    for axes, title, write in (
        (above, "Time for each GB", tables.span), (below, "Peak memory of the process", size_of),
    ):  # fmt: skip
        axes.set_title(title, loc="left")
        logarithmic(axes, "x", size_of)
        logarithmic(axes, "y", write)
    sizes = sorted({size * 1e6 for of in by_road.values() for size in of})
    below.set_xticks(sizes)
    below.xaxis.set_minor_locator(NullLocator())
    below.set_xlabel("input")
    legend(figure, keys, 2)
    last = {road: of[max(of)] for road, of in by_road.items()}
    said = "; ".join(
        f"{road} {tables.span(statistics.median(one['seconds']) / one['size'] * 1e9)}"
        for road, one in last.items()
        if "seconds" in one
    )
    return figure, f"Time for each GB and peak memory against size; at {size_of(sizes[-1])}: {said}"


def size_of(value: float) -> str:
    """Write a number of bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if value >= scale:
            return f"{value / scale:g} {unit}"
    return f"{value / 1e3:g} kB"


def latency(found: dict[str, Any]) -> tuple[Figure, str] | None:
    """Percentiles of latency against the rate, a panel for each percentile."""
    if not found["latency"]:
        return None
    figure = Figure((WIDE, 8.8), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, sharey=True)
    said = []
    for axes, p in zip(panels, (50, 99, 99.9), strict=True):
        for who, (color, marker, style) in CLIENTS.items():
            points = [one for one in found["latency"] if one["who"] == who]
            rates, low, middle, high = [one["rate"] for one in points], *spreads(found, points, p)
            axes.plot(rates, middle, color=color, marker=marker, linestyle=style)
            axes.fill_between(rates, low, high, color=color, alpha=0.18, linewidth=0)
            if middle:
                said.append(
                    f"p{p:g} of {who} {tables.span(middle[0])} to {tables.span(middle[-1])}"
                )
        axes.set_title(f"p{p:g}", loc="left")
        logarithmic(axes, "y", tables.span)
    logarithmic(panels[-1], "x", tables.count)
    panels[-1].set_xlabel("records in a second")
    legend(figure, client_keys(found), 1)
    return figure, "Latency from the lowest to the highest rate: " + "; ".join(said)


def spreads(
    found: dict[str, Any], points: list[dict[str, Any]], p: float
) -> tuple[list[float], list[float], list[float]]:
    """Give the least, the median and the greatest of the runs of some points."""
    at = found["settings"]["percentiles"].index(p)
    runs = [[run[at] for run in one["runs"]] for one in points]
    return [*map(min, runs)], [*map(statistics.median, runs)], [*map(max, runs)]


def client_keys(found: dict[str, Any]) -> list[Line2D]:
    """Make the legend of the clients."""
    there = {one["who"] for one in found["latency"]}
    return [key(tables.CLIENTS[who].replace("`", ""), *CLIENTS[who]) for who in CLIENTS
            if who in there]  # fmt: skip


def percentiles(found: dict[str, Any]) -> tuple[Figure, str] | None:
    """All percentiles of some rates, a panel for each."""
    rates = [rate for rate in SHOWN_RATES if any(x["rate"] == rate for x in found["latency"])]
    if not rates:
        return None
    given = found["settings"]["percentiles"]
    figure = Figure((WIDE, 1.2 + 2.5 * len(rates)), layout="constrained")
    panels = figure.subplots(len(rates), 1, sharex=True, squeeze=False)[:, 0]
    places = [1 / (1 - p / 100) for p in given]  # each nine as far from the one before
    for axes, rate in zip(panels, rates, strict=True):
        for one in (one for one in found["latency"] if one["rate"] == rate):
            color, marker, style = CLIENTS[one["who"]]
            runs = list(zip(*one["runs"], strict=True))
            middle = [statistics.median(run) for run in runs]
            axes.plot(places, middle, color=color, marker=marker, markersize=4, linestyle=style)
            axes.fill_between(places, [*map(min, runs)], [*map(max, runs)], color=color,
                              alpha=0.18, linewidth=0)  # fmt: skip
        axes.set_title(f"{tables.count(rate)} records/s", loc="left")
        logarithmic(axes, "y", tables.span)
    logarithmic(panels[-1], "x", tables.count)
    marked = [p for p in given if p in (50, 90, 99, 99.9, 99.99)]
    panels[-1].set_xticks([1 / (1 - p / 100) for p in marked], [f"p{p:g}" for p in marked])
    panels[-1].xaxis.set_minor_locator(NullLocator())
    legend(figure, client_keys(found), 1)
    shown = ", ".join(tables.count(rate) for rate in rates)
    return figure, f"Latency by percentile at {shown} records/s, of each client, with its spread"
