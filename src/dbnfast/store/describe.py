"""What the repr of a store says."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from dbnfast._util.times import as_datetime64
from dbnfast.errors import DecodeError
from dbnfast.store.watch import told

if TYPE_CHECKING:
    from dbnfast.store.store import Store

COUNT_AT_MOST: Final = 256 << 20  # bytes of a store whose records its repr counts
SHOWN_SYMBOLS: Final = 5
IN_LINE: Final = 5  # of what there is to say


def _described(store: Store) -> list[tuple[str, str]]:
    # all there is to say, in the order in which it is said
    metadata, symbols = store.metadata, store.symbols
    shown = ", ".join(symbols[:SHOWN_SYMBOLS])
    if len(symbols) > SHOWN_SYMBOLS:
        shown += f" and {len(symbols) - SHOWN_SYMBOLS:,} more"
    counts, size = _counted(store)
    end = "open" if metadata.end is None else as_datetime64(metadata.end)
    conditions = store._blocks.conditions
    filtered = [("filter", conditions.told()), ("reads", _to_read(store))] if conditions else []
    return [
        *filtered,
        ("dataset", store.dataset),
        ("schema", "mixed" if store.schema is None else str(store.schema)),
        ("range", f"{as_datetime64(metadata.start)} to {end}"),
        ("records", counts or "none"),
        ("symbols", shown or "none"),
        ("size", f"{size}, {store.compression}"),
        ("version", f"{metadata.version}{', ts_out' if metadata.ts_out else ''}"),
    ]


def _to_read(store: Store) -> str:
    try:
        n, n_bytes = store._blocks.to_read()
        of = len(store._blocks.sources)
        sources = f"{n:,} of {of:,} sources, " if of > 1 else ""
        return f"{sources}{n_bytes:,} of {store.nbytes:,} bytes"
    except (DecodeError, OSError) as error:  # a repr never raises
        return f"not readable ({error})"


def _counted(store: Store) -> tuple[str, str]:
    size = "size unknown"
    try:
        size = f"{store.nbytes:,} bytes"
        most = 0 if any(source.is_far for source in store._blocks.sources) else COUNT_AT_MOST
        if not store._blocks.are_counted and store._blocks.to_read()[1] > most:
            n = store._blocks.n_indexed
            return "not counted" if n is None else f"{n:,}", size
        counts = store.counts
    except (DecodeError, OSError, ValueError) as error:  # a repr never raises
        return f"not readable ({error})", size
    return told(counts), size


def in_line(store: Store) -> str:
    """
    Describe a store in one line.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    str
    """
    n_said = IN_LINE + 2 * bool(store._blocks.conditions)
    said = ", ".join(f"{name}={value}" for name, value in _described(store)[:n_said])
    n = len(store._blocks.sources)
    return f"<Store({f'{n} sources, ' if n > 1 else ''}{said})>"


def in_table(store: Store) -> str:
    """
    Describe a store as a table of HTML.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    str
    """
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in _described(store)
    )
    return f"<table><caption>dbnfast.Store</caption><tbody>{rows}</tbody></table>"
