"""``dbnfast record``: a live session into files that rotate."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.atomic import replacing
from dbnfast.cli.live_options import WAKE_UP, events_of, summarise, tell
from dbnfast.cli.outputs import blame, plural
from dbnfast.cli.terminal import put, talk
from dbnfast.errors import DbnError
from dbnfast.live.recorder import Recorder
from dbnfast.live.recovery import parts_of
from dbnfast.live.resume.plan import Progress
from dbnfast.records.headers import index_times
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from dbnfast.cli.live_options import SessionOptions
    from dbnfast.live.recorder import Recovered
    from dbnfast.live.sync.client import Live

FEW: Final = 5  # symbols that are named
UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE: Final = re.compile(r"(\d+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """
    Read a size.

    Parameters
    ----------
    text : str
        As ``500000``, ``64M``, ``2GiB``.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    ValueError
        It is none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is no size as 500000, 64M or 2GiB")
    return int(match[1]) * UNITS[match[2].lower()]


def run(
    options: SessionOptions,
    folder: str,
    *,
    prefix: str | None,
    zstd: bool,
    rotate: str | None,
    by_day: bool,
    fsync: str,
    resume: bool,
) -> int:
    """
    Record a session.

    Parameters
    ----------
    options : SessionOptions
        The session.
    folder : str
        Where the files go.
    prefix : str or None
        What their names begin with; None for the dataset.
    zstd : bool
        Whether they are compressed.
    rotate : str or None
        The most bytes of a file, as 64M.
    by_day : bool
        Whether a new file begins at midnight UTC.
    fsync : str
        ``close``, ``interval`` or ``always``.
    resume : bool
        Whether to mend what an earlier run left, and to go on where it stopped. Without it, a
        folder with files of the prefix is refused.

    Returns
    -------
    int
        The exit code.
    """
    prefix = options.dataset if prefix is None else prefix
    recorder = Recorder(
        folder,
        prefix=prefix,
        compression="zstd" if zstd else "none",
        rotate_bytes=None if rotate is None else parse_size(rotate),
        rotate="day" if by_day else None,
        fsync=fsync,  # type: ignore[arg-type]
    )
    live = options.open(retry_first=True)
    began = time.monotonic()
    try:
        with recorder, live:
            asked = _Asked(folder, prefix, options)
            if not resume:
                asked.check_unused()
            recovered = recorder.recover()  # nobody else writes there from now on
            if resume:
                asked.check(recovered)
                _go_on(live, options, recovered)
            options.subscribe(live)
            began = time.monotonic()
            synced = began
            for item in events_of(live, options):
                if not isinstance(item, Records):
                    tell(item)
                elif len(item):
                    asked.write()
                    recorder.write(item)
                elif fsync == "interval" and time.monotonic() - synced > WAKE_UP * 5:
                    recorder.flush()
                    synced = time.monotonic()
            options.check(live)
    except (DbnError, OSError) as error:
        return blame(None, error)
    finally:
        for path in recorder.files:
            put(str(path))
        summarise(live, began, recorder.n_records)
    return 0


class _Asked:
    # what a recording asks for, in a file beside it: nothing else tells a later run all of that
    def __init__(self, folder: str, prefix: str, options: SessionOptions) -> None:
        self._folder = Path(os.path.expanduser(folder))
        self._prefix = prefix
        self._path = self._folder / f"{prefix}.session.json"
        self._written = False
        self._asked: dict[str, Any] = {
            "dataset": options.dataset.strip(),
            "ts_out": options.ts_out,
            "subscriptions": sorted(
                (
                    {
                        "schema": one.schema.value,
                        "stype_in": one.stype_in.value,
                        "symbols": sorted(one.symbols),
                    }
                    for one in options.subscriptions
                ),
                key=repr,
            ),
        }

    def check_unused(self) -> None:
        if parts_of(self._folder, self._prefix):
            text = f"holds a recording of prefix {self._prefix!r}: --resume goes on with it, "
            raise FileExistsError(
                errno.EEXIST, f"{text}another DIR or --prefix begins one", str(self._folder)
            )

    def check(self, recovered: Recovered) -> None:
        if not recovered.files or recovered.metadata is None:
            return
        found: dict[str, Any] = {
            "dataset": recovered.metadata.dataset,
            "ts_out": recovered.metadata.ts_out,
        }
        found.update(self._read())
        for name, asked in self._asked.items():
            if name in found and found[name] != asked:
                raise ValueError(
                    f"{self._folder}: the recording is of {_words(name, found[name])}, expected "
                    f"{_words(name, asked)}: --resume goes on with the same, another DIR or "
                    "--prefix begins a new one"
                )

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:  # an older version recorded, or no command
            return {}
        except ValueError as error:
            text = f"{self._path} is no JSON: {error}; without it nothing is compared"
            raise ValueError(text) from None
        self._written = found == self._asked
        return found if isinstance(found, dict) else {}

    def write(self) -> None:
        if self._written:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._path, force=True) as file:
            file.write(json.dumps(self._asked, indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._written = True


def _words(name: str, value: Any) -> str:
    if name != "subscriptions":
        return f"{name} {value!r}"
    texts = []
    try:
        for one in value:
            symbols = ",".join(one["symbols"][:FEW]) + ",..." * (len(one["symbols"]) > FEW)
            texts.append(f"{one['schema']} of {symbols} ({one['stype_in']})")
    except (KeyError, TypeError):  # somebody else wrote it
        return f"{name} {value!r}"
    return ", ".join(texts)


def _go_on(live: Live, options: SessionOptions, recovered: Recovered) -> None:
    # with what the earlier runs received, as the session would know it had it never ended
    if recovered.n_lost_bytes:
        talk(f"{plural(recovered.n_lost_bytes, 'byte')} of a record that was cut are removed")
    if not recovered.files:
        return
    progress, n = Progress(), 0
    for subscription in options.subscriptions:
        progress.subscribed(subscription)
    for records in recovered.records():
        if not n:  # the gateway's clock at its first answer; the data may begin long before it
            progress.started(int(index_times(records)[0]))
        progress.push(records)
        n += len(records)
    if not n:
        progress.started(min(recovered.starts))
    progress.disconnected()
    live.go_on_with(progress, len(options.schemas))
    talk(f"going on behind {plural(n, 'record')} in {plural(len(recovered.files), 'file')}")
