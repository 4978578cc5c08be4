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
    "metadata": ("dbnfast.metadata",),
    "decoder": ("dbnfast.decoder",),
    "zstd": ("dbnfast.compression",),
    "dbz": ("dbnfast.dbz", "dbnfast.compression"),
    "read_json": ("dbnfast.convert.read_json", "dbnfast.convert.from_text",
                  "dbnfast.convert.json_shapes", "dbnfast.convert.text_input"),
    "read_csv": ("dbnfast.convert.read_csv", "dbnfast.convert.from_text",
                 "dbnfast.convert.text_input"),
    "symbols": ("dbnfast.symbology", "dbnfast.intervals", "dbnfast.lookups"),
    "repair": ("dbnfast.verifying", "dbnfast.files"),
    "live": ("dbnfast.live",),
    "gateway": ("dbnfast.gateway", "dbnfast.live.control"),
}  # fmt: skip


def load(name: str) -> Any:
    """Import a target."""
    if name not in NAMES:
        raise SystemExit(f"there is no target {name!r}; there are {' '.join(NAMES)}")
    return import_module(f"fuzz.targets.{name}")
