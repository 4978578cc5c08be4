"""
The targets: a module for each, whose docstring states the property.

A module has ``check(data)``, which raises where the property does not hold, ``seeds()``, and maybe
``mutate`` (see `fuzz.mutators`), ``DICTIONARY`` and ``MAX_LEN``. Nothing here needs a fuzzer.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

NAMES = (
    "metadata",
    "scan",
    "decoder",
    "zstd",
    "dbz",
    "read_json",
    "read_csv",
    "write_text",
    "tables",
    "filters",
    "symbols",
    "repair",
    "live",
    "gateway",
)

# what of the package is instrumented besides the core: modules whose Python code decides
PYTHON = {
    "metadata": ("dbnfast.codec.metadata",),
    "decoder": ("dbnfast.codec.decoder",),
    "zstd": ("dbnfast.codec.compression",),
    "dbz": ("dbnfast.codec.dbz", "dbnfast.codec.compression"),
    "read_json": ("dbnfast.text.json", "dbnfast.text.parse",
                  "dbnfast.text.shapes", "dbnfast.text.input"),
    "read_csv": ("dbnfast.text.csv", "dbnfast.text.parse",
                 "dbnfast.text.input"),
    "symbols": ("dbnfast.symbology.map", "dbnfast.symbology.intervals", "dbnfast.symbology.codes"),
    "repair": ("dbnfast.files._verify", "dbnfast.files._repair"),
    "live": ("dbnfast.live",),
    "gateway": ("dbnfast.gateway", "dbnfast.live.wire.lines"),
}  # fmt: skip


def load(name: str) -> Any:
    """Import a target."""
    if name not in NAMES:
        raise SystemExit(f"there is no target {name!r}; there are {' '.join(NAMES)}")
    return import_module(f"fuzz.targets.{name}")
