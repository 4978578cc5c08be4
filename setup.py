"""
Build the compiled core; everything else is in pyproject.toml.

Switches, all off by default: DBNFAST_DEBUG=1 compiles bounds checks in, DBNFAST_SANITIZE=1
adds AddressSanitizer and UndefinedBehaviorSanitizer, DBNFAST_TRACE=1 adds gcov's counters, and
marks in the C code where each line begins, for coverage, DBNFAST_FUZZ=1 adds libFuzzer's counters
of edges and both sanitizers (CC=clang).
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

DEBUG = os.environ.get("DBNFAST_DEBUG") == "1"
SANITIZE = os.environ.get("DBNFAST_SANITIZE") == "1"
TRACE = os.environ.get("DBNFAST_TRACE") == "1"
FUZZ = os.environ.get("DBNFAST_FUZZ") == "1"

UTILITY = "dbnfast._core._cyutility"

compile_args: list[str] = []
link_args: list[str] = []
if sys.platform != "win32":
    compile_args += ["-O3", "-Wall", "-Wextra", "-Wno-unused-parameter"]
    compile_args += ["-Wno-missing-field-initializers", "-Wno-cast-function-type"]
if not (DEBUG or SANITIZE or TRACE or FUZZ) and sys.platform != "win32":
    compile_args += ["-g0"]  # Python's own flags ask for debug information: most of a wheel
    link_args += ["-Wl,-s"] if sys.platform == "linux" else []
if SANITIZE:
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    compile_args += [*flags, "-O1", "-g", "-fno-omit-frame-pointer"]
    link_args += flags
if FUZZ:  # no runtime is linked: whoever loads this preloads libFuzzer's, which has the sanitizers'
    flags = ["-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=undefined"]
    compile_args += [*flags, "-O1", "-g", "-fno-omit-frame-pointer"]
    link_args += flags
if TRACE:  # gcov counts branches of the C code: one that is not optimized, so that none is folded
    flags = ["--coverage", "-fprofile-update=atomic"]
    compile_args += [*flags, "-O0"]
    link_args += flags

kind = ("-debug" if DEBUG else "") + ("-trace" if TRACE else "") + ("-san" if SANITIZE else "")
kind += "-fuzz" if FUZZ else ""
build_dir = f"build/cython{kind}"
core = Path("src/dbnfast/_core")
extensions = [
    Extension(
        f"dbnfast._core.{source.stem}",
        [source.as_posix()],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )
    for source in sorted(core.glob("*.pyx"))
]
extensions.append(
    Extension(
        UTILITY,
        [f"{build_dir}/_cyutility.c"],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )
)


def translated() -> list[Extension]:
    """Have Cython write the C files."""
    from Cython.Build import cythonize  # noqa: PLC0415 - an sdist is made without it

    found: list[Extension] = cythonize(
        extensions,
        build_dir=build_dir,
        include_path=["src"],
        shared_utility_qualified_name=UTILITY,
        compiler_directives={
            "language_level": 3,
            "binding": True,
            "embedsignature": False,
            "boundscheck": DEBUG,
            "initializedcheck": DEBUG,
            "nonecheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "freethreading_compatible": True,
            "autotestdict": False,
            "auto_pickle": False,
            "linetrace": TRACE,
        },
    )
    return found


# an sdist, and metadata, need no C files
compiles = not {"sdist", "egg_info", "dist_info"} & set(sys.argv[1:])
setup(
    ext_modules=translated() if compiles else extensions,
    # objects of one kind of build are never taken for another's
    options={
        "build": {"build_base": f"build/objects{kind}"},
        "build_ext": {"parallel": True},
    },
)
