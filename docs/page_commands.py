"""The tables of options in ``docs/guide/cli.md``, between the marks that stand there."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import typer

from dbnfast.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARKED = re.compile(r"(<!-- options of (?P<name>\w+) -->\n).*?(<!-- end of options -->\n)", re.S)


def commands() -> dict[str, Callable[..., None]]:
    """Give the functions behind the commands, by the commands' names."""
    return {
        command.name: command.callback
        for command in app.registered_commands
        if command.name is not None and command.callback is not None
    }


def options(function: Callable[..., None]) -> Iterator[tuple[list[str], Any, str, Any]]:
    """Give a command's options: their names, type, help and default."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *about = get_args(hints[name]) or (hints[name],)
        for info in about:
            if isinstance(info, typer.models.OptionInfo):
                told = (info.default, *(info.param_decls or ()))  # the first name is its default
                given = [decl for decl in told if isinstance(decl, str) and decl.startswith("-")]
                names = [part for decl in given for part in decl.split("/")]
                names = names or [f"--{name.replace('_', '-')}"]
                yield names, kind, info.help or "", parameter.default


def rows(function: Callable[..., None]) -> Iterator[str]:
    """Give the lines of a command's table."""
    yield "| option | | default |\n|---|---|---|\n"
    for names, kind, words, default in options(function):
        kinds = get_args(kind) or (kind,)  # of an optional one: itself, and None
        for part in kinds:
            if isinstance(part, type) and issubclass(part, Enum):
                words += f" One of {', '.join(f'`{member.value}`' for member in part)}."
        value = "" if bool in kinds else " VALUE"
        shown = " or ".join(f"`{name}{value}`" for name in names)
        yield f"| {shown} | {words} | {default_text(names, default)} |\n"


def default_text(names: list[str], default: Any) -> str:
    """Show a default; nothing where there is none, or where a switch is off."""
    if default is inspect.Parameter.empty:
        return "required"
    if isinstance(default, bool):
        return f"`{names[0]}`" if default else ""
    return "" if default is None else f"`{default}`"


def commands_page(page: str) -> str:
    """Write the tables anew into the page."""
    known = commands()

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{''.join(rows(known[match['name']]))}\n{match[3]}"

    return MARKED.sub(fill, page)
