"""Fail unless a tag, the version and the changelog's head are one: `python .ci/tag.py v1.2.3`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
HEAD = re.compile(r"^## (\S+)(?: - \d{4}-\d{2}-\d{2})?$", re.MULTILINE)


def found(pattern: re.Pattern[str], path: Path) -> str:
    """Give the first match in a file; empty where there is none."""
    match = pattern.search(path.read_text(encoding="utf-8"))
    return match[1] if match else ""


def complaints(tag: str, root: Path = ROOT) -> list[str]:
    """Say what does not fit the tag."""
    version = found(VERSION, root / "src" / "dbnfast" / "version.py")
    head = found(HEAD, root / "CHANGELOG.md")
    said = []
    if not version or tag != f"v{version}":
        said.append(f"the tag is {tag!r}, the version {version!r}")
    if head != version:
        said.append(f"the changelog begins with {head!r}, the version is {version!r}")
    return said


def main(arguments: list[str]) -> int:
    """Check the tag that is named."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    said = complaints(arguments[0])
    print(*said, sep="\n", file=sys.stderr, end="\n" if said else "")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
