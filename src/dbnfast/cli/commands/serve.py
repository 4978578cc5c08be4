"""``dbnfast serve``: files as a live gateway of one's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dbnfast.cli.outputs import plural
from dbnfast.cli.terminal import STDIN, explain, talk
from dbnfast.errors import DbnError
from dbnfast.gateway.faults import Faults
from dbnfast.gateway.server import Gateway
from dbnfast.live.wire.auth import ApiKey

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(
    files: Sequence[str],
    *,
    keys: Sequence[str],
    host: str,
    port: int,
    speed: str,
    at_end: str,
    faults: Sequence[str],
    trace: bool,
) -> int:
    """
    Serve files until the user ends it.

    Parameters
    ----------
    files : sequence of str
        Paths; ``-`` is stdin.
    keys : sequence of str
        The keys that may connect; empty for the environment's.
    host : str
        The address to listen at.
    port : int
        The port; 0 for any.
    speed : str
        ``max``, or as ``1x``.
    at_end : str
        ``idle`` or ``close``.
    faults : sequence of str
        As `gateway.faults` reads them.
    trace : bool
        Whether lines and sizes are written to stderr.

    Returns
    -------
    int
        The exit code.
    """
    known = [ApiKey(key) for key in keys] or [ApiKey()]
    try:
        gateway = Gateway(
            [_source(name) for name in files],
            keys=[key.secret for key in known],
            host=host,
            port=port,
            speed=speed,
            at_end=at_end,
            faults=Faults.parse(faults),
            trace=trace,
        )
        gateway.start()
    except (DbnError, OSError) as error:
        name = error.filename if isinstance(error, OSError) else None
        return explain(name if isinstance(name, str) else None, error)
    try:
        talk(_described(gateway, known))
        while not gateway.wait_closed(3600):
            pass
    finally:
        gateway.stop()
    return 0


def _source(name: str) -> Any:
    if name != STDIN:
        return name
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return sys.stdin.buffer


def _described(gateway: Gateway, keys: Sequence[ApiKey]) -> str:
    source = gateway.service.source
    schemas = ", ".join(sorted(map(str, source.lanes))) or "no schema"
    return (
        f"{gateway.host}:{gateway.port} serves {source.dataset or 'no dataset'}: {schemas}; "
        f"{plural(len(source), 'record')}; {', '.join(map(repr, keys))}"
    )
