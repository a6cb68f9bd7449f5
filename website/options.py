"""Tables of a command's arguments, read from the parser that the command line uses."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from talos_opt.cli.parser import build_parser

#: The command that is described first, whose options others share.
FIRST = "solve"


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def describe(command: str) -> str:
    """Return the arguments of a command as Markdown, a table for each group that its help has.

    What other commands take as `solve` does is described there alone.

    Raises
    ------
    KeyError
        No command has this name.
    """
    known = parsers()
    described = {_key(action) for action in known[FIRST]._actions} if command != FIRST else set()
    parts = []
    plain: list[argparse.Action] = []  # arguments and options of no group of their own
    for group in known[command]._action_groups:
        actions = [action for action in group._group_actions if _shown(action)]
        if group.title in ("positional arguments", "options"):
            plain += actions
        elif actions:
            title = f"**{_prose(str(group.title).capitalize())}**"
            said = f". {_prose(group.description)}" if group.description else ""
            parts.append(f"{title}{said}\n\n{_table(actions, set())}")
    return "\n\n".join([_table(plain, described), *parts])


def _shown(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and action.dest != "help"


def _key(action: argparse.Action) -> tuple[str, str]:
    return _name(action), action.help or ""


def _table(actions: list[argparse.Action], described: set[tuple[str, str]]) -> str:
    """Return a table, and a sentence below it about the options that `described` holds."""
    others = [item for item in actions if item.option_strings and _key(item) in described]
    if len(others) < 2:
        others = []
    rows = [f"| {_name(item)} | {_meaning(item)} |" for item in actions if item not in others]
    table = "\n".join(["| argument | meaning |", "| --- | --- |", *rows])
    if not others:
        return table
    names = ", ".join(_name(item) for item in others)
    return f"{table}\n\nAs for [`{FIRST}`](#talos-opt-{FIRST}-graph): {names}."


def _name(action: argparse.Action) -> str:
    value = _value(action)
    if not action.option_strings:
        more = " ..." if action.nargs in ("+", "*") else ""
        return f"`{value}{more}`"
    names = sorted(action.option_strings, key=lambda name: not name.startswith("--"))
    return ", ".join(f"`{name} {value}`".replace(" `", "`") for name in names)


def _meaning(action: argparse.Action) -> str:
    said = _prose(action.help or "")
    if action.choices and not action.metavar:
        said += ". One of " + ", ".join(f"`{choice}`" for choice in action.choices)
    return said


def _value(action: argparse.Action) -> str:
    """Return what an argument takes, as ``--help`` shows it."""
    if action.nargs == 0:
        return ""
    if action.metavar:
        return str(action.metavar)
    return action.dest.rpartition("_")[2].upper()


def _prose(text: str) -> str:
    """Return a help text as Markdown: options, files and examples of values in code."""
    return "".join(_marked(part) for part in _parts(" ".join(text.replace("%%", "%").split())))


#: What is code in a help text: what stands in quotes, options, and names of files.
_CODE = re.compile(
    r"(?<!\w)'[^']+'(?!\w)|(?<![\w-])--?[a-z][a-z-]*\b|(?<![\w.])(?:\./)?[\w/-]+\.(?:md|py|json)(?::\w+)?\b"
)


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    end = 0
    for found in _CODE.finditer(text):
        yield False, text[end : found.start()]
        yield True, found[0].strip("'")
        end = found.end()
    yield False, text[end:]


def _marked(part: tuple[bool, str]) -> str:
    code, text = part
    if not code:
        return re.sub(r"([*_<\[|])", r"\\\1", text)
    page = re.fullmatch(r"docs/([\w-]+\.md)", text)
    return f"[{page[1]}]({page[1]})" if page else f"`{text}`"
