"""The commands and their options; what they do is in a module each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import cache, partial
from typing import Annotated, Any, Final

import rich  # noqa: F401  # absent, the command line says which extra brings it
import typer

from dbnfast.cli import bulk
from dbnfast.cli.commands import (
    demo,
    head,
    info,
    live,
    merge,
    record,
    repair,
    serve,
    split,
    stats,
    verify,
)
from dbnfast.cli.live_options import SessionOptions
from dbnfast.cli.outputs import ended_by_signals
from dbnfast.cli.selection import Options
from dbnfast.cli.terminal import STDIN, Input, explain
from dbnfast.live.wire.lines import MAX_HEARTBEAT_S, MIN_HEARTBEAT_S
from dbnfast.version import __version__

Job = Callable[[], int]

app = typer.Typer(
    name="dbnfast",
    help="Look into DBN files (Databento Binary Encoding), check them, and make others of them. "
    "FILE may be - for standard input.",
    add_completion=False,
    rich_markup_mode=None,
)

Fragment = Annotated[
    bool, typer.Option("--fragment", help="The input has no metadata, only records.")
]
InputVersion = Annotated[
    int | None,
    typer.Option(min=1, max=3, help="DBN version of a fragment; found by the records else."),
]


def _once(files: list[str]) -> list[str]:
    if files.count(STDIN) > 1:
        raise typer.BadParameter("- is standard input, which is read once")
    return files


Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Files, folders, quoted patterns or URLs; - is stdin.",
        callback=_once,
    ),
]
File = Annotated[str, typer.Argument(metavar="FILE", help="A file or its URL; - is stdin.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
Zstd = Annotated[
    bool | None,
    typer.Option("--zstd/--no-zstd", help="Whether to compress; else the name or input says it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a file.")]
TsOut = Annotated[bool, typer.Option("--ts-out", help="Records of a fragment end in a ts_out.")]


class By(StrEnum):
    """What makes a part of a split file."""

    DAY = "day"
    SYMBOL = "symbol"
    SCHEMA = "schema"


class AtEnd(StrEnum):
    """What sessions do when the source ends."""

    IDLE = "idle"
    CLOSE = "close"


class Show(StrEnum):
    """How a live session is shown."""

    RECORDS = "records"
    JSON = "json"
    TABLE = "table"
    NONE = "none"


class Fsync(StrEnum):
    """When what is recorded is made safe."""

    CLOSE = "close"
    INTERVAL = "interval"
    ALWAYS = "always"


Dataset = Annotated[str, typer.Option(help="The dataset, as GLBX.MDP3.")]
Schemas = Annotated[list[str], typer.Option("--schema", "-s", help="May be repeated.")]
SymbolsOf = Annotated[
    list[str] | None, typer.Option("--symbols", help="Symbols, with commas; else all.")
]
StypeIn = Annotated[str, typer.Option(help="raw_symbol, instrument_id, parent or continuous.")]
Start = Annotated[str | None, typer.Option(help="Replay from here: ISO time (UTC), ns, or 0.")]
Snapshot = Annotated[bool, typer.Option("--snapshot", help="Begin mbo with the book's state.")]
Key = Annotated[str | None, typer.Option(help="The API key; else $DATABENTO_API_KEY.")]
GatewayHost = Annotated[str | None, typer.Option("--gateway", help="Else that of the dataset.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="The gateway's port.")]
SendTimes = Annotated[bool, typer.Option("--ts-out", help="Have records end in the send time.")]
Heartbeat = Annotated[
    int | None, typer.Option(min=MIN_HEARTBEAT_S, max=MAX_HEARTBEAT_S, help="Seconds between them.")
]
Packed = Annotated[bool, typer.Option("--zstd-feed", help="Have the stream compressed.")]
Reconnect = Annotated[bool, typer.Option("--reconnect/--no-reconnect", help="Go on for ever.")]
Hours = Annotated[bool, typer.Option("--hours", help="Name silence of closed markets.")]
Tracing = Annotated[bool, typer.Option("--trace", help="Show every line on stderr.")]
Hexdump = Annotated[bool, typer.Option("--hexdump", help="And the bytes.")]
Lasts = Annotated[str | None, typer.Option("--for", help="How long: 20s, 2h.")]
Limit = Annotated[int | None, typer.Option("-n", "--records", min=1, help="At most so many.")]

BROKEN_PIPE: Final = 0  # who closed the pipe has what he wanted
INTERRUPTED: Final = 130  # as shells have it: 128 and the signal's number
SIGNALLED: Final = 128


def _version(wanted: bool) -> None:
    if wanted:
        print(f"dbnfast {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    # options before the command
    del version


@app.command("demo", help="Show the packaged sample as a file, then as a live feed that breaks.")
def _demo(context: typer.Context) -> None:
    context.obj.append(demo.run)


@app.command("info", help="Say what files hold: header, types, times, sizes.")
def _info(
    context: typer.Context,
    files: Files,
    as_json: AsJson = False,
    fragment: Fragment = False,
    input_version: InputVersion = None,
    ts_out: TsOut = False,
) -> None:
    inputs = [Input(name, fragment, input_version, ts_out) for name in files]
    context.obj.append(partial(info.run, inputs, as_json=as_json))


@app.command("head", help="Show the first records: prices exact, times UTC, undefined empty.")
def _head(
    context: typer.Context,
    file: File,
    n: Annotated[int, typer.Option("-n", "--records", min=0, help="How many records.")] = 10,
    schema: Annotated[
        str | None, typer.Option(help="Only records of this schema or rtype.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Integers as they are in the file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a record.")] = False,
    fragment: Fragment = False,
    input_version: InputVersion = None,
    ts_out: TsOut = False,
) -> None:
    source = Input(file, fragment, input_version, ts_out)
    context.obj.append(partial(head.run, source, n, schema, raw=raw, as_json=as_json))


@app.command("stats", help="Count records by type and instrument; find gaps in time.")
def _stats(
    context: typer.Context,
    files: Files,
    top: Annotated[int, typer.Option(min=0, help="How many instruments, most records first.")] = 20,
    gap: Annotated[str, typer.Option(help="Shortest gap told: 1h, 90s, 1h30m, 250ms.")] = "1h",
    as_json: AsJson = False,
    fragment: Fragment = False,
    input_version: InputVersion = None,
    ts_out: TsOut = False,
) -> None:
    inputs = [Input(name, fragment, input_version, ts_out) for name in files]
    context.obj.append(partial(stats.run, inputs, top=top, gap=gap, as_json=as_json))


@app.command("verify", help="Tell what is wrong with files, and at which byte. 1: damaged.")
def _verify(
    context: typer.Context,
    files: Files,
    symbols: Annotated[
        bool, typer.Option("--symbols/--no-symbols", help="Look ids up in the header's mappings.")
    ] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are damage too.")] = False,
    as_json: AsJson = False,
    fragment: Fragment = False,
    input_version: InputVersion = None,
    ts_out: TsOut = False,
) -> None:
    inputs = [Input(name, fragment, input_version, ts_out) for name in files]
    job = partial(verify.run, inputs, symbols=symbols, strict=strict, as_json=as_json)
    context.obj.append(job)


@app.command("repair", help="Copy a damaged file up to its last good record.")
def _repair(
    context: typer.Context,
    file: File,
    out: Annotated[str, typer.Argument(metavar="OUT", help="The new file; - is stdout.")],
    force: Force = False,
    fragment: Fragment = False,
    input_version: InputVersion = None,
    ts_out: TsOut = False,
) -> None:
    source = Input(file, fragment, input_version, ts_out)
    context.obj.append(partial(repair.run, source, out, force=force))


@app.command("merge", help="Merge files of one dataset into one, in the order of time.")
def _merge(
    context: typer.Context,
    files: Files,
    out: Annotated[str, typer.Option("-o", "--out", help="The new file; - is stdout.")],
    zstd: Zstd = None,
    force: Force = False,
) -> None:
    inputs = [Input(name) for name in files]
    context.obj.append(partial(merge.run, inputs, out, zstd=zstd, force=force))


@app.command("split", help="Split a file by day, symbol or schema; write the parts' names.")
def _split(
    context: typer.Context,
    file: File,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the parts go.")],
    by: Annotated[By, typer.Option(help="What makes a part.")] = By.DAY,
    zstd: Zstd = None,
    force: Force = False,
) -> None:
    job = partial(split.run, Input(file), folder, by=by.value, zstd=zstd, force=force)
    context.obj.append(job)


@app.command("serve", help="Replay files as a live gateway, until Ctrl-C.")
def _serve(
    context: typer.Context,
    files: Files,
    key: Annotated[
        list[str] | None,
        typer.Option(help="A key that may connect; may be repeated. Else $DATABENTO_API_KEY."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = 13000,
    speed: Annotated[
        str, typer.Option(help="max, or times as fast as it happened: 1x, 10x.")
    ] = "max",
    at_end: Annotated[
        AtEnd, typer.Option(help="What sessions do when the files end.")
    ] = AtEnd.IDLE,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What goes wrong, as 0:cut@5000; may be repeated."),
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Write what comes and goes to stderr.")
    ] = False,
) -> None:
    job = partial(
        serve.run,
        files,
        keys=key or (),
        host=host,
        port=port,
        speed=speed,
        at_end=at_end.value,
        faults=fault or (),
        trace=trace,
    )
    context.obj.append(job)


@app.command("live", help="Show a live session, or write it to a file.")
def _live(
    context: typer.Context,
    dataset: Dataset,
    schema: Schemas,
    symbols: SymbolsOf = None,
    stype_in: StypeIn = "raw_symbol",
    start: Start = None,
    snapshot: Snapshot = False,
    show: Annotated[
        Show | None, typer.Option(help="How records are shown; records, or none with --out.")
    ] = None,
    out: Annotated[str | None, typer.Option("-o", "--out", help="A DBN file; - is stdout.")] = None,
    zstd: Annotated[bool, typer.Option("--zstd", help="Compress it; .zst says so too.")] = False,
    force: Force = False,
    key: Key = None,
    gateway: GatewayHost = None,
    port: Port = 13000,
    ts_out: SendTimes = False,
    heartbeat: Heartbeat = None,
    packed: Packed = False,
    as_json: Annotated[
        bool, typer.Option("--json-feed", help="Have the gateway send JSON lines.")
    ] = False,
    reconnect: Reconnect = True,
    hours: Hours = False,
    trace: Tracing = False,
    hexdump: Hexdump = False,
    lasts: Lasts = None,
    limit: Limit = None,
) -> None:
    options = SessionOptions(
        dataset=dataset,
        schemas=tuple(schema),
        symbols=tuple(symbols or ()),
        stype_in=stype_in,
        start=start,
        snapshot=snapshot,
        key=key,
        gateway=gateway,
        port=port,
        ts_out=ts_out,
        heartbeat=heartbeat,
        compression="zstd" if packed else "none",
        encoding="json" if as_json else "dbn",
        reconnect=reconnect,
        hours=hours,
        trace=trace,
        hexdump=hexdump,
        lasts=lasts,
        limit=limit,
    )
    form = show or (Show.RECORDS if out is None else Show.NONE)
    job = partial(live.run, options, form=form.value, out=out, zstd=zstd, force=force)
    context.obj.append(job)


@app.command("record", help="Write a live session to files that rotate; write their names.")
def _record(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the files go.")],
    dataset: Dataset,
    schema: Schemas,
    symbols: SymbolsOf = None,
    stype_in: StypeIn = "raw_symbol",
    start: Start = None,
    snapshot: Snapshot = False,
    prefix: Annotated[str | None, typer.Option(help="Of the names; else the dataset.")] = None,
    zstd: Annotated[bool, typer.Option("--zstd", help="Compress the files.")] = False,
    rotate: Annotated[str | None, typer.Option(help="The most of a file: 64M, 2G.")] = None,
    by_day: Annotated[bool, typer.Option("--by-day", help="A new file at midnight UTC.")] = False,
    fsync: Annotated[
        Fsync, typer.Option(help="When what is written is made safe.")
    ] = Fsync.INTERVAL,
    resume: Annotated[
        bool, typer.Option("--resume", help="Mend what a run left, and go on where it stopped.")
    ] = False,
    key: Key = None,
    gateway: GatewayHost = None,
    port: Port = 13000,
    ts_out: SendTimes = False,
    heartbeat: Heartbeat = None,
    packed: Packed = False,
    reconnect: Reconnect = True,
    hours: Hours = False,
    trace: Tracing = False,
    lasts: Lasts = None,
    limit: Limit = None,
) -> None:
    options = SessionOptions(
        dataset=dataset,
        schemas=tuple(schema),
        symbols=tuple(symbols or ()),
        stype_in=stype_in,
        start=start,
        snapshot=snapshot,
        key=key,
        gateway=gateway,
        port=port,
        ts_out=ts_out,
        heartbeat=heartbeat,
        compression="zstd" if packed else "none",
        reconnect=reconnect,
        hours=hours,
        trace=trace,
        lasts=lasts,
        limit=limit,
    )
    job = partial(
        record.run,
        options,
        folder,
        prefix=prefix,
        zstd=zstd,
        rotate=rotate,
        by_day=by_day,
        fsync=fsync.value,
        resume=resume,
    )
    context.obj.append(job)


@app.command("convert", help="Convert DBN, DBZ, CSV or JSON to DBN, CSV, JSON, Parquet or Arrow.")
def _convert(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...", help="Files, folders or quoted patterns; - is stdin.", callback=_once
        ),
    ],
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="The new file, or a folder; - is stdout.")
    ],
    source_format: Annotated[
        str | None, typer.Option("--from", help="dbn, dbz, csv or json; else the content says it.")
    ] = None,
    target_format: Annotated[
        str | None,
        typer.Option("--to", help="dbn, csv, json, parquet or arrow; else OUT's suffix says it."),
    ] = None,
    zstd: Zstd = None,
    schema: Annotated[str | None, typer.Option(help="Only this schema or rtype.")] = None,
    instrument_id: Annotated[
        list[int] | None, typer.Option(help="Only this instrument; may be repeated.")
    ] = None,
    symbol: Annotated[
        list[str] | None, typer.Option(help="Only this symbol; may be repeated.")
    ] = None,
    publisher: Annotated[
        list[int] | None, typer.Option(help="Only this publisher id; may be repeated.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="From this index time on: a date, ISO time (UTC) or ns.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Before this index time.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many records.")] = None,
    raw_prices: Annotated[
        bool, typer.Option("--raw-prices", help="Prices as integers of 1e-9.")
    ] = False,
    raw_times: Annotated[
        bool, typer.Option("--raw-times", help="Times as integers of ns.")
    ] = False,
    symbols: Annotated[
        bool, typer.Option("--symbols/--no-symbols", help="Whether there is a symbol column.")
    ] = True,
    upgrade: Annotated[
        bool, typer.Option("--upgrade/--as-is", help="Whether records become version 3.")
    ] = True,
    dataset: Annotated[
        str | None, typer.Option(help="For the header, where the input has none.")
    ] = None,
    partition_by: Annotated[
        str | None,
        typer.Option(
            help="Folders of Parquet by date, symbol, publisher_id, instrument_id, schema."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", min=1, help="Inputs converted at a time, by processes.")
    ] = 1,
    force: Force = False,
    fragment: Fragment = False,
    input_version: InputVersion = None,
    ts_out: TsOut = False,
) -> None:
    options = Options(
        source_format=source_format,
        target_format=target_format,
        zstd=zstd,
        schema=schema,
        instrument_ids=tuple(instrument_id or ()),
        publishers=tuple(publisher or ()),
        symbols=tuple(symbol or ()),
        start=start,
        end=end,
        limit=limit,
        raw_prices=raw_prices,
        raw_times=raw_times,
        map_symbols=symbols,
        upgrade=upgrade,
        dataset=dataset,
        force=force,
        partition_by=tuple(partition_by.split(",")) if partition_by else (),
    )
    inputs = [Input(name, fragment, input_version, ts_out) for name in files]
    context.obj.append(partial(bulk.start, inputs, out, options, jobs))


def run(argv: list[str]) -> int:
    """
    Parse the arguments and run the command that they name.

    Parameters
    ----------
    argv : list of str
        The arguments, without the program's name.

    Returns
    -------
    int
        The exit code.
    """
    if sys.stdout is None:
        return explain(None, OSError("standard output is closed"))
    with ended_by_signals() as told:
        code = _guarded(argv, told)
    return SIGNALLED + told[0] if told and code == INTERRUPTED else code


def _guarded(argv: list[str], told: list[int]) -> int:
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except OSError as error:  # those of the input were told by the command
        _drop_output()
        if told:  # a terminal that is closed takes no output either
            return INTERRUPTED
        return explain("standard output", error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _drop_output() -> None:
    # the interpreter flushes once more as it ends
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@cache
def _command() -> Any:
    return typer.main.get_command(app)  # it reads the annotations of every command


def _run(argv: list[str]) -> int:
    # typer only parses: a command leaves a job, which runs outside of typer's own handling of
    # errors and pipes
    jobs: list[Job] = []
    try:
        _command().main(args=argv, prog_name="dbnfast", obj=jobs)
    except SystemExit as done:
        if not jobs:
            return done.code if isinstance(done.code, int) else 2
    try:
        return jobs[0]()
    except (ValueError, ImportError) as error:
        if isinstance(error, ModuleNotFoundError):
            raise  # is no matter of a file: something is installed in part
        return explain(None, error)
