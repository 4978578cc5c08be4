"""``dbnfast record``: a live session into files that rotate."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from dbnfast.cli.live_options import WAKE_UP, events_of, summarise, tell
from dbnfast.cli.outputs import blame, plural
from dbnfast.cli.terminal import put, talk
from dbnfast.errors import DbnError
from dbnfast.live.recorder import Recorder, recover
from dbnfast.live.resume.plan import Progress
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from dbnfast.cli.live_options import SessionOptions
    from dbnfast.live.sync.client import Live

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
        Whether to mend what an earlier run left, and to go on where it stopped.

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
            if resume:
                _go_on(live, options, folder, prefix)
            options.subscribe(live)
            began = time.monotonic()
            synced = began
            for item in events_of(live, options):
                if not isinstance(item, Records):
                    tell(item)
                elif len(item):
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


def _go_on(live: Live, options: SessionOptions, folder: str, prefix: str) -> None:
    # with what the earlier runs received, as the session would know it had it never ended
    recovered = recover(folder, prefix)
    if recovered.n_lost_bytes:
        talk(f"{plural(recovered.n_lost_bytes, 'byte')} of a record that was cut are removed")
    if not recovered.files:
        return
    progress, n = Progress(), 0
    for subscription in options.subscriptions:
        progress.subscribed(subscription)
    progress.started(min(recovered.starts))
    for records in recovered.records():
        progress.push(records)
        n += len(records)
    progress.disconnected()
    live.go_on_with(progress, len(options.schemas))
    talk(f"going on behind {plural(n, 'record')} in {plural(len(recovered.files), 'file')}")
