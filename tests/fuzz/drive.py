"""
Run one target under libFuzzer: ``python -m fuzz.drive TARGET [libFuzzer's options and folders]``.

It needs atheris, and the build of the core that counts edges; `fuzz.run` sets both up. Where Python
code decides, as in readers of text and in sessions, its branches are counted too. That makes it ten
times as slow, so that all the rest is left as it is.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import pkgutil
import random
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import atheris

from fuzz import inputs, targets


def import_package(instrumented: Sequence[str]) -> None:
    """Import the package, modules of some names instrumented, and every module of the core."""
    with atheris.instrument_imports(include=["dbnfast.none", *instrumented]):
        import dbnfast
        import dbnfast._core
        import dbnfast.files._verify
        import dbnfast.gateway
        import dbnfast.live.session.session
        import dbnfast.store.store

        for module in pkgutil.iter_modules(dbnfast._core.__path__):
            importlib.import_module(f"dbnfast._core.{module.name}")
        importlib.import_module("dbnfast.tables.arrow")
        importlib.import_module("dbnfast.tables.pandas")
    if "site-fuzz" not in dbnfast.__file__:
        raise SystemExit(f"this is {dbnfast.__file__}, not the build that counts edges")
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", category=dbnfast.TruncatedWarning)
    logging.disable()


def mutator(target: Any) -> Any:
    """Make the target's mutation of a whole input: of its choices, or of its payload."""

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        choices, payload = inputs.parts(data)
        if rng.random() < 0.15:
            choices = atheris.Mutate(choices or b"\0", 64)[: inputs.MAX_CHOICES]
        else:
            payload = target.mutate(rng, payload, native)
        return inputs.pack(choices, payload)[:max_size]

    def native(raw: bytes) -> bytes:
        return bytes(atheris.Mutate(raw or b"\0", max(64, 2 * len(raw))))

    return mutate


def main() -> None:
    """Run the target that the first argument names."""
    name = sys.argv.pop(1)
    os.environ.pop("LD_PRELOAD", None)  # not for the symbolizer
    if not hasattr(ctypes.CDLL(None), "LLVMFuzzerCustomMutator"):
        raise SystemExit("the targets' mutations would not be used: see fuzz.run.preload")
    import_package(targets.PYTHON.get(name, ()))
    target = targets.load(name)
    atheris.Setup(sys.argv, target.check, custom_mutator=mutator(target))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
