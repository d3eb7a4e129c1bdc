"""What the command line asks for, as the recipe's part."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.contract import schema
from trainer.recipes.decisions_part import DecisionsPart


def parse(options: Mapping[str, Any]) -> DecisionsPart | None:
    """The options that were given, by the names of the part; None where none was: then the recipe says it.

    Raises ValueError for what is not of the form NAME=NUMBER, and for numbers that cannot be.
    """
    if not options:
        return None
    content = {name: value for name, value in options.items() if name not in ("precision", "recall", "cost")}
    for name in ("precision", "recall"):
        if name in options:
            content[name] = _numbers(options[name])
    if "cost" in options:
        content["costs"] = _costs(options["cost"])
    problems: list[str] = []
    part = schema.bind(DecisionsPart, content, problems)
    if part is None:
        raise ValueError("; ".join(problems))
    if "level" in options and not part.promises:
        raise ValueError("--level is of promises: give --precision, --recall or --abstain with it")
    return part


def _numbers(texts: Sequence[str]) -> dict[str, str]:
    """`NAME=NUMBER` of each; a name may hold an equals sign, and a number does not."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.rpartition("=")
        if not sign or name in found:
            raise ValueError(f"expected NAME=NUMBER, each name once, found {text!r}")
        found[name] = value
    return found


def _costs(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for names, value in _numbers(texts).items():
        # Of several colons the last one divides: a label that holds one is better written in the recipe.
        true, sign, decided = names.rpartition(":")
        if not sign:
            raise ValueError(f"expected TRUE:DECIDED=NUMBER, found {names!r}")
        found.setdefault(true, {})[decided] = value
    return found
