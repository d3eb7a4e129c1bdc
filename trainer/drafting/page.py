"""A draft as YAML that a person reads: each part under the reasons for it."""

import os
import shlex
import textwrap
from pathlib import Path
from typing import Any

import yaml

from trainer.contract.errors import InputError
from trainer.drafting.draft import Draft
from trainer.drafting.files import is_text

_WIDTH = 120


def recipe_page(made: Draft, path: Path) -> str:
    """The recipe's text; file names are relative to its folder."""
    parts, why = made.parts, made.why
    small = parts["model"]["name"].startswith("pkg://")
    lines = [
        *_comment(f"classifact train {shlex.quote(path.name)} --out {shlex.quote(f'runs/{path.stem}')}"),
        "#",
        "# Drafted by `classifact init` from the files; every guess has its reason above it.",
    ]
    for sentence in made.undecided:
        lines += _comment(f"Not decided: {sentence}.")
    lines += [f"name: {_plain(path.stem)}", "seed: 42"]
    lines += _comment("The encoder. Another of your texts' language may do much better: a hub name, or a local folder.")
    lines += [f"model: {_plain(parts['model'])}"]
    lines += [*_reasons(why, "data"), *_data(parts["data"], path.parent, why)]
    lines += [*_reasons(why, "input"), f"input: {_plain(parts['input'])}"]
    lines += [*_reasons(why, "labels"), f"labels: {_plain(parts['labels'])}"]
    lines += [*_reasons(why, "stages"), "stages:", f"  - epochs: {parts['stage']['epochs']}"]
    lines += [f"    {key}: {_plain(value)}" for key, value in parts["stage"].items() if key != "epochs"]
    lines += [f"    optimizer: {{learning_rate: {'1.0e-4' if small else '2.0e-5'}, warmup: 0.1}}"]
    if "loss" in parts:
        lines.append(f"    loss: {_plain(parts['loss'])}")
    lines.append(f"select: {{metric: {_metric(parts['labels'])}, keep: 2}}")
    return "\n".join(lines) + "\n"


def _metric(labels: dict[str, Any]) -> str:
    if labels["kind"] == "multi":
        return "f1_micro"
    return "f1" if "positive" in labels else "f1_macro"


def _data(data: dict[str, Any], folder: Path, why: dict[str, list[str]]) -> list[str]:
    lines = ["data:"]
    for role in ("train", "validation", "test"):
        if role in data:
            lines.append(f"  {role}:")
            lines += [
                f"    - {_plain({**source, 'files': _relative(source['files'], folder)})}" for source in data[role]
            ]
    if "split" in data:
        lines += [f"  {line}" for line in _reasons(why, "split")]
        lines.append(f"  split: {_plain(data['split'])}")
    return lines


def _relative(files: list[str], folder: Path) -> str | list[str]:
    """Names as a recipe gives them; whole paths where the files share no folder with the recipe."""
    paths = [Path(name).resolve() for name in files]
    home = folder.resolve()
    apart = Path(os.path.commonpath([home, *paths])) == Path(home.anchor)
    names = [str(path) if apart else os.path.relpath(path, home) for path in paths]
    if not all(map(is_text, names)):
        raise InputError(
            "a folder's name is no UTF-8, which a recipe cannot hold",
            where=next(name for name in names if not is_text(name)),
            do="write the recipe below that folder: --out",
        )
    return names[0] if len(names) == 1 else names


def _reasons(why: dict[str, list[str]], part: str) -> list[str]:
    return [line for sentence in why.get(part, []) for line in _comment(f"{sentence}.")]


def _comment(sentence: str) -> list[str]:
    # A cell or a file's name may hold a line break, which would end the comment.
    return [f"# {line}" for line in textwrap.wrap(" ".join(sentence.split()), _WIDTH)]


def _plain(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")
