"""The commands and their options; what they do is in a module each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, Final

import rich  # noqa: F401  # absent, the command line says which extra brings it
import typer

from dbnfast.cli import demo, head, info
from dbnfast.cli.output import Input, explain
from dbnfast.version import __version__

Job = Callable[[], int]

app = typer.Typer(
    name="dbnfast",
    help="Look into DBN files (Databento Binary Encoding). FILE may be - for standard input.",
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
TsOut = Annotated[bool, typer.Option("--ts-out", help="Records of a fragment end in a ts_out.")]
BROKEN_PIPE: Final = 0  # who closed the pipe has what he wanted


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


@app.command("demo", help="Decode the packaged sample and measure it.")
def _demo(context: typer.Context) -> None:
    context.obj.append(demo.run)


@app.command("info", help="Say what files hold: header, types, times, sizes.")
def _info(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files; - is stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file.")] = False,
    fragment: Fragment = False,
    input_version: InputVersion = None,
    ts_out: TsOut = False,
) -> None:
    inputs = [Input(name, fragment, input_version, ts_out) for name in files]
    context.obj.append(partial(info.run, inputs, as_json=as_json))


@app.command("head", help="Show the first records: prices exact, times UTC, undefined empty.")
def _head(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file; - is stdin.")],
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
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except OSError as error:  # those of the input were told by the command
        _drop_output()
        return explain("standard output", error)
    except KeyboardInterrupt:
        return 130
    return code


def _drop_output() -> None:
    # the interpreter flushes once more as it ends
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: list[str]) -> int:
    # typer only parses: a command leaves a job, which runs outside of typer's own handling of
    # errors and pipes
    jobs: list[Job] = []
    try:
        typer.main.get_command(app).main(args=argv, prog_name="dbnfast", obj=jobs)
    except SystemExit as done:
        if not jobs:
            return done.code if isinstance(done.code, int) else 2
    try:
        return jobs[0]()
    except ValueError as error:
        return explain(None, error)
