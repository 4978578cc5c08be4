"""``dbnfast convert`` of many inputs into a folder: what is done already, and what is left."""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import json
import os
import re
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.atomic import is_same_file, is_temporary, replacing
from dbnfast._util.locks import FileLock
from dbnfast._util.ranges import Ranged
from dbnfast._util.trees import Elsewhere, folder_at, tree_at
from dbnfast._util.urls import is_url, joined
from dbnfast.cli.commands.convert import SUFFIXES, convert, target_format
from dbnfast.cli.commands.convert import run as run_one
from dbnfast.cli.inputs import each
from dbnfast.cli.outputs import Progress, Told, blame, output, plural
from dbnfast.cli.pool import results
from dbnfast.cli.selection import check, parse_time
from dbnfast.cli.terminal import STDIN, explain, talk
from dbnfast.codec.options import open_raw
from dbnfast.errors import DbnError
from dbnfast.store.remote import base_name
from dbnfast.store.store import read
from dbnfast.tables.partitions import partition_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dbnfast.cli.selection import Options
    from dbnfast.cli.terminal import Input
    from dbnfast.store.parts import Part

PART: Final = 256 << 20  # bytes of records of a long file that a process converts
MARKS: Final = ".dbnfast"  # the folder that tells what is done, in the output's
COMPRESSED: Final = (".zst", ".zstd")


@dataclass(frozen=True)
class Job:
    """
    An input and what becomes of it.

    Attributes
    ----------
    source : Input
        The input.
    folder : str
        Where the result goes: a path or URL.
    stem : str
        What its file's name, or the names of its files, begin with.
    suffix : str
        What they end in.
    options : Options
        How.
    told : dict
        What another run compares: the source and its state, and the options.
    part : Part, optional
        What of the source; None for all.
    number : int
        Which part it is.
    """

    source: Input
    folder: str
    stem: str
    suffix: str
    options: Options
    told: dict[str, Any]
    part: Part | None = None
    number: int = 0

    @property
    def name(self) -> str:
        """The file in the folder, where there is one."""
        return self.stem + self.suffix

    @property
    def target(self) -> str:
        """The same with the folder."""
        return _inside(self.folder, self.name)

    @property
    def mark(self) -> str:
        """The file in the folder that tells whether it is done."""
        return f"{MARKS}/{self.name}.json"

    def parts(self) -> list[Job]:
        """
        Divide it for processes, where its files are those of a table anyway.

        Returns
        -------
        list of Job
            Itself alone where it is short, or its records have to be read in order or all
            together to tell what becomes of it.
        """
        options, source = self.options, self.source
        plain = not (source.fragment or source.version or source.ts_out or options.source_format)
        if not options.partition_by or options.limit is not None or not plain:
            return [self]
        if (source.size or 0) <= PART:
            return [self]
        try:
            where: Any = source.name if source.place is None else source.place
            store = read(where, on_truncated="raise")
            start, end = (
                parse_time("--start", options.start), parse_time("--end", options.end)
            )  # fmt: skip
            if start is not None or end is not None:
                store = store.filter(start=start, end=end)
            parts = [] if store.schema is None else store.parts(PART)
        except (DbnError, OSError):  # text maybe; else it is told where all of it is read
            return [self]
        if len(parts) < 2:
            return [self]
        return [replace(self, part=part, number=number) for number, part in enumerate(parts)]


def _inside(folder: str, name: str) -> str:
    return joined(folder, name) if is_url(folder) else os.fspath(Path(folder, name))


class Folder:
    """
    What is in the output's folder.

    Parameters
    ----------
    name : str
        Its path or URL. What is at a URL is found once.

    Raises
    ------
    OSError
        The filesystem does not say what is there.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._elsewhere: Elsewhere | None = None
        self._found: set[str] = set()
        if is_url(name) and isinstance(found := folder_at(name), Elsewhere):
            self._elsewhere = found
            self._found = set(found.names())

    def has(self, name: str) -> bool:
        """
        Tell whether a file is there.

        Parameters
        ----------
        name : str
            Its path in the folder.

        Returns
        -------
        bool
        """
        if self._elsewhere is None:
            return os.path.exists(_inside(self.name, name))
        return name in self._found

    def of_tables(self) -> list[str]:
        """
        Find the files in the folders of a table; in others are files of others.

        Returns
        -------
        list of str
        """
        if self._elsewhere is None:
            found = []
            for root, folders, files in os.walk(self.name):
                folders[:] = [name for name in folders if "=" in name]
                place = Path(root).relative_to(self.name)
                found += [(place / name).as_posix() for name in files]
        else:
            found = sorted(self._found)
        return [
            name
            for name in found
            if "/" in name and all("=" in one for one in name.split("/")[:-1])
        ]

    def remove(self, names: Iterable[str]) -> None:
        """
        Remove files.

        Parameters
        ----------
        names : iterable of str
            Their paths in the folder.

        Raises
        ------
        OSError
            One cannot be removed.
        """
        if self._elsewhere is not None:
            self._elsewhere.remove(names)
            return
        for name in names:
            Path(self.name, name).unlink(missing_ok=True)

    def take(self, options: Options) -> Callable[[], None]:
        """
        Make it where it is not there, and have no other run write to it.

        Parameters
        ----------
        options : Options
            Of a table, the folder has to be empty or one that this command filled.

        Returns
        -------
        callable
            Lets others have it. A folder at a URL has no locks.

        Raises
        ------
        OSError
            It is somebody else's.
        """
        marks = Path(self.name, MARKS)
        if self._elsewhere is None:
            os.makedirs(marks, exist_ok=True)
            is_marked = any(marks.iterdir())
            others = [entry for entry in os.listdir(self.name) if entry != MARKS]
        else:
            others = [name for name in self._found if not name.startswith(f"{MARKS}/")]
            is_marked = len(others) < len(self._found)
        if options.partition_by and others and not is_marked:
            if self._elsewhere is None:
                marks.rmdir()
            raise FileExistsError(
                errno.EEXIST,
                "is not empty, and nothing says that this command filled it",
                self.name,
            )
        if self._elsewhere is not None:
            return lambda: None
        try:
            return FileLock(marks / "lock").release
        except BlockingIOError as error:
            text = "another convert is writing to it"
            raise BlockingIOError(errno.EAGAIN, text, self.name) from error


def start(inputs: Sequence[Input], target: str, options: Options, n_processes: int) -> int:
    """
    Convert inputs to what the target is: a file, or files in a folder.

    Parameters
    ----------
    inputs, target, options, n_processes
        As `run` takes them.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    ValueError
        As `run` raises it, and `convert.run`.
    """
    found = list(each(inputs))
    if len(inputs) == len(found) == 1 and found[0].error is not None:
        return blame(found[0].name, found[0].error)
    several = len(found) > 1 or len(inputs) > 1
    name = inputs[0].name
    if not several and not is_url(name):
        several = os.path.isdir(name) or (not os.path.exists(name) and glob.has_magic(name))
    is_folder = target.endswith("/") or os.path.isdir(os.path.expanduser(target))
    if several or options.partition_by or is_folder:
        return run(found, target, options, n_processes)
    return run_one(found[0], target, options)


def run(inputs: Sequence[Input], target: str, options: Options, n_processes: int) -> int:
    """
    Convert inputs to files in a folder, each of which is done once.

    Parameters
    ----------
    inputs : sequence of Input
        The inputs, each of them a file.
    target : str
        The folder: a path or URL.
    options : Options
        How.
    n_processes : int
        How many inputs are converted at a time.

    Returns
    -------
    int
        The exit code: 1 where an input failed.

    Raises
    ------
    ValueError
        An option cannot be, two inputs would become the same file, or the folder has what other
        options made of an input.
    """
    check(options)
    if options.partition_by:
        partition_names(options.partition_by)
        options = replace(options, target_format=options.target_format or "parquet")
        if options.target_format != "parquet":
            raise ValueError("--partition-by is for parquet")
    if not is_url(target):
        target = os.path.expanduser(target)
    names_file = PurePath(target).suffix.lower() in (*SUFFIXES, *COMPRESSED)
    if names_file and not options.partition_by and not os.path.isdir(target):
        raise ValueError(
            f"{target!r} is the name of a file, and several inputs become files in a folder; "
            "merge makes one file of several"
        )
    if options.target_format is None:
        raise ValueError(f"{target!r} is a folder; --to says what its files become")
    try:
        if is_url(target) and isinstance(here := folder_at(target), Path):
            target = os.fspath(here)
        jobs, failed = _jobs(inputs, target, options)
        if not jobs:
            return _told_of(failed, target, len(failed), len(failed))
        folder = Folder(target)
        release = folder.take(options)
    except OSError as error:
        return blame(None, error)
    try:
        return _run(jobs, folder, n_processes, failed)
    except OSError as error:  # of the folder; those of an input are told with it
        return blame(target, error)
    finally:
        release()


def _jobs(inputs: Sequence[Input], target: str, options: Options) -> tuple[list[Job], list[str]]:
    # what is to be done, and what is said of inputs that cannot be looked at
    zstd = False if options.partition_by else target_format("x", options)[1]
    suffix = next(end for end, form in SUFFIXES.items() if form == options.target_format)
    suffix += ".zst" * zstd
    jobs: dict[str, Job] = {}
    failed = []
    for source in inputs:
        if source.name == STDIN:
            raise ValueError("standard input cannot become a file of a folder")
        try:
            if source.error is not None:
                raise source.error
            told = _told(source, options)
        except (DbnError, OSError) as error:
            failed.append(_blamed(source, error))
            continue
        job = Job(source, target, _stem(source.name), suffix, options, told)
        if is_url(target) and "::" in job.name:  # which begins another URL in one
            raise ValueError(f"{source.name} would become {job.name}, which no URL can name")
        other = jobs.setdefault(job.name, job)
        if other is not job and other.source.name != source.name:
            raise ValueError(
                f"{other.source.name} and {source.name} would both become {job.name}: "
                "convert them to two folders"
            )
        is_here = source.place is None and not options.partition_by
        if is_here and is_same_file(source.name, job.target):
            raise ValueError(f"{source.name} would become itself: choose another folder")
    return list(jobs.values()), failed


def _told(source: Input, options: Options) -> dict[str, Any]:
    name, size, place = source.name, source.size, source.place
    if place is None:
        state: Any = os.stat(name).st_mtime_ns
        name = os.path.abspath(name)
    else:
        state = (place if isinstance(place, Ranged) else place.data).version
    given = asdict(options) | {"fragment": source.fragment, "version": source.version}
    given["ts_out"] = source.ts_out
    del given["force"]
    made = {"source": name, "size": size, "state": state, "options": given}
    plain: dict[str, Any] = json.loads(json.dumps(made, default=str))
    return plain


def _stem(name: str) -> str:
    path = PurePath(base_name(name.partition("::")[0]) if is_url(name) else name)
    if path.suffix.lower() in COMPRESSED:
        path = PurePath(path.stem)
    known = path.suffix.lower() in (*SUFFIXES, ".dbz")
    return path.stem if known else path.name


def _run(jobs: list[Job], folder: Folder, n_processes: int, failed: list[str]) -> int:
    target, n_all = folder.name, len(jobs) + len(failed)
    todo: list[Job] = []
    for job in jobs:
        try:
            found = _left(job, folder)
        except OSError as error:
            failed.append(_blamed(job.source, error))
            continue
        if found is not None:
            todo.append(found)
    n_failed = len(failed)
    n_before = n_all - len(todo) - n_failed
    if n_before:
        talk(f"{target}: {plural(n_before, 'file')} of {n_all:,} done before")
    if todo and todo[0].options.partition_by:  # what a run that was killed left
        folder.remove(name for name in folder.of_tables() if is_temporary(name.split("/")[-1]))
    n_done = n_before
    units = [unit for job in todo for unit in (job.parts() if n_processes > 1 else [job])]
    n_left = Counter(unit.name for unit in units)
    spoiled: set[str] = set()

    def begin(number: int) -> None:
        if units[number].number == 0:  # parts begin in order
            _begin(units[number], folder)

    try:
        with Progress([job.source for job in todo]) as progress:
            for number, result in results(_work, units, n_processes, begin, progress.told):
                unit = units[number]
                if isinstance(result, Exception):
                    result = 1, f"dbnfast: {unit.source.name}: {result}\n"
                code, text = result
                n_left[unit.name] -= 1
                if code:
                    failed.append(text)
                    spoiled.add(unit.name)
                else:
                    progress.say(text)
                if not n_left[unit.name] and unit.name not in spoiled:
                    n_done += 1
                    _mark(unit, is_done=True)
    except KeyboardInterrupt:
        talk(f"{target}: {n_done:,} of {n_all:,} done; the same command does the others")
        raise
    return _told_of(failed, target, n_failed + len(spoiled), n_all)


def _told_of(failed: list[str], target: str, n: int, n_all: int) -> int:
    # the exit code
    if failed:
        talk(f"{target}: {plural(n, 'input')} of {n_all:,} failed:")
        for text in failed:
            for line in text.splitlines():
                talk(line.removeprefix("dbnfast: "))
    return int(bool(failed))


def _left(job: Job, folder: Folder) -> Job | None:
    # the job if it is still to be done, and whether over what it made before
    told, force = job.told, job.options.force
    mark = None
    if folder.has(job.mark):
        with contextlib.suppress(ValueError), open_raw(_inside(job.folder, job.mark)) as file:
            mark = json.loads(file.read())
    if mark is None:
        # a link to nothing is there, too: it would be followed
        there = not job.options.partition_by and (
            folder.has(job.name) or os.path.islink(job.target)
        )
        if there and not force:
            raise FileExistsError(errno.EEXIST, "exists already", job.target)
        return job
    if mark["source"] != told["source"]:
        text = f"was made of {mark['source']}: choose another folder"
        raise FileExistsError(errno.EEXIST, text, job.target)
    if mark["options"] != told["options"] and not force:
        raise ValueError(
            f"{job.name} was made with other options; --force makes it anew, or choose another "
            "folder"
        )
    there = bool(job.options.partition_by) or folder.has(job.name)
    if mark == told | {"done": True} and there and not force:
        return None
    return replace(job, options=replace(job.options, force=True))


def _begin(job: Job, folder: Folder) -> None:
    # from here on what is there under these names is of this input
    _mark(job, is_done=False)
    if job.options.partition_by:
        own = re.compile(re.escape(job.stem) + r"(\.\d{4,})?-\d{4,}" + re.escape(job.suffix))
        folder.remove(
            [name for name in folder.of_tables() if own.fullmatch(name.rpartition("/")[2])]
        )


def _mark(job: Job, is_done: bool) -> None:
    with replacing(_inside(job.folder, job.mark), force=True) as file:
        file.write(json.dumps(job.told | {"done": is_done}, indent=1).encode())


def _blamed(source: Input, error: Exception) -> str:
    return _said(lambda: blame(source.name, error))[1]


def _said(call: Callable[[], int]) -> tuple[int, str]:
    # an exit code, and what was written to stderr
    held = io.StringIO()
    with contextlib.redirect_stderr(held):
        code = call()
    return code, held.getvalue()


def _work(job: Job, told: Callable[[int], object]) -> tuple[int, str]:
    # runs in a process
    def call() -> int:
        options, out = job.options, job.target
        try:
            if options.partition_by:
                tree = tree_at(job.folder, "a", job.suffix)
                stem = job.stem if job.part is None else f"{job.stem}.{job.number:04}"
                out = _inside(job.folder, f"{stem}-*{job.suffix}")
                return convert(job.source, tree, out, options, Told(told), stem, job.part)
            return convert(job.source, output(out, options.force), out, options, Told(told))
        except ValueError as error:
            return explain(job.source.name, error)
        except Exception:  # a mistake of this package must not stop the others
            talk(f"{job.source.name}: {traceback.format_exc()}")
            return 1

    return _said(call)
