"""The page of codes, ``docs/codes.md``: enumerations and publishers with their numbers."""

from __future__ import annotations

import inspect
from enum import Enum
from typing import TYPE_CHECKING, Any

from dbnfast import datasets, enums
from dbnfast.publishers import PUBLISHERS

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """\
# Codes

The codes that stand in records and headers, and what they mean. Written by `make tables` from
`src/dbnfast/enums.py`, `datasets.py` and `publishers.py`; how the classes behave is in
[Enumerations](api/enums.md).

A code that is not listed here is no error: it stays the plain `int` or `str` that came.
"""


def enumerations() -> list[type[Enum]]:
    """Give the public enumerations, in the order of the modules."""
    return [
        found
        for module in (enums, datasets)
        for found in vars(module).values()
        if inspect.isclass(found) and issubclass(found, Enum) and len(found)
    ]


def shown(member: Any) -> tuple[str, str]:
    """Give a member's code, and its text where that is another thing."""
    if isinstance(member, enums.CharEnum):
        return "a space" if member.value == " " else f"`{member.value}`", ""
    text = str(member)
    number = str(int(member))
    return number, "" if text == number else f"`{text}`"


def table(enum: type[Enum]) -> Iterator[str]:
    """Give the section of an enumeration."""
    rows = [
        (name, *shown(member), "" if name == member.name else f"the same as `{member.name}`")
        for name, member in enum.__members__.items()
    ]
    has_text = any(text for _, _, text, _ in rows)
    summary = (inspect.getdoc(enum) or "").partition("\n")[0].replace("``", "`")
    yield f"\n## {enum.__name__}\n\n{summary}\n\n"
    yield "| name | code | text |\n|---|---|---|\n" if has_text else "| name | code |\n|---|---|\n"
    for name, code, text, alias in rows:
        cells = [f"`{name}`", code, *([alias or text] if has_text else [])]
        yield f"| {' | '.join(cells)} |\n"


def codes_page() -> str:
    """Make the page."""
    parts = [HEAD]
    for enum in enumerations():
        parts += table(enum)
    parts.append(
        "\n## Publishers\n\nWho published a record, by the `publisher_id` of its header. "
        "0 is the gateway's own.\n\n| id | dataset | venue |\n|---|---|---|\n"
    )
    parts += [f"| {p.id} | {p.dataset} | {p.venue} |\n" for _, p in sorted(PUBLISHERS.items())]
    return "".join(parts)
