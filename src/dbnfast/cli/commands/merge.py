"""``dbnfast merge``: several files as one, in the order of time."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from dbnfast._util.atomic import is_same_file
from dbnfast._util.urls import masked
from dbnfast.cli.commands.convert import SUFFIXES
from dbnfast.cli.inputs import files_of
from dbnfast.cli.outputs import STDOUT, Progress, blame, output, plural
from dbnfast.cli.terminal import STDIN, talk
from dbnfast.codec.encode import Encoder
from dbnfast.codec.merge import joined_metadata, merged
from dbnfast.errors import DbnError
from dbnfast.store.sources import paths_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast.cli.terminal import Input, Opened
    from dbnfast.codec.metadata import Metadata
    from dbnfast.records.records import Records

MEMORY: Final = 256 << 20  # of the blocks of all inputs
MIN_BLOCK: Final = 64 << 10
MAX_BLOCK: Final = 16 << 20
SPARE_FILES: Final = 32


def run(inputs: list[Input], target: str, *, zstd: bool | None, force: bool) -> int:
    """
    Merge inputs by index timestamp; of equal times the input named first comes first.

    Parameters
    ----------
    inputs : list of Input
        The inputs, of which any may be a folder or a pattern; records and header become
        version 3.
    target : str
        The new file; ``-`` is stdout.
    zstd : bool or None
        Whether the result is compressed; None for what the file's name says.
    force : bool
        Whether an existing file is replaced.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    ValueError
        The name is one of another format, or of a file that a folder or pattern stands for, or
        the inputs cannot become one.
    """
    form = SUFFIXES.get(PurePath(target.removesuffix(".zst")).suffix.lower(), "dbn")
    if form != "dbn":
        raise ValueError(f"{target!r} would be DBN under a name of {form}; convert makes {form}")
    if zstd is None:
        zstd = target.endswith(".zst")
    try:
        inputs = list(_files(inputs, target))
    except (DbnError, OSError) as error:
        return blame(None, error)
    _allow_open_files(len(inputs) + SPARE_FILES)
    max_bytes = min(max(MEMORY // len(inputs), MIN_BLOCK), MAX_BLOCK)
    at_work = inputs[0].name
    n = 0
    try:
        with ExitStack() as stack:
            progress = stack.enter_context(Progress(inputs, target == STDOUT))
            streams, headers = [], []
            for source in inputs:
                at_work = source.name
                opened = stack.enter_context(source.open(max_bytes, progress.told))
                streams.append(_upgraded(opened))
                headers.append(_header(opened))
            at_work = target
            metadata = joined_metadata(headers, [source.name for source in inputs])
            file = stack.enter_context(output(target, force))
            encoder = Encoder(file, metadata, compression="zstd" if zstd else "none")
            for records in merged(streams, metadata):
                encoder.write(records)
                n += len(records)
            encoder.close()
    except _InputError as error:
        return blame(error.name, error.error)
    except (DbnError, OSError) as error:
        return blame(at_work, error)
    talk(f"{target}: {plural(n, 'record')} of {plural(len(inputs), 'file')}")
    return 0


def _files(inputs: list[Input], target: str) -> Iterator[Input]:
    # with those of folders and patterns; of these the result of an earlier run is none
    for source in inputs:
        found = files_of(source)
        if found == [source] and source.name != STDIN:
            paths_of(source.name)  # says what is not there before anything is opened
        for one in found if found != [source] else ():
            same = one.name == masked(target) if one.place else is_same_file(one.name, target)
            if same:
                raise ValueError(f"{target!r} is one of the files that {source.name!r} stands for")
        yield from found


class _InputError(Exception):
    # an error of one input among many
    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(name)
        self.name = name
        self.error = error


def _header(opened: Opened) -> Metadata:
    assert opened.reader.metadata is not None  # fragments are not offered
    return opened.reader.metadata


def _upgraded(opened: Opened) -> Iterator[Records]:
    try:
        for records in opened.blocks():
            yield records.upgrade()
    except (DbnError, OSError) as error:
        raise _InputError(opened.name, error) from None


def _allow_open_files(n: int) -> None:
    # systems let a process have more open files than they give it at first
    with suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < n:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(n, hard), hard))
