"""Small recipes with something to learn, run in this process or launched as a user launches them."""

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from safetensors.torch import load_file

from tests import tiny
from trainer.contract.system.files import sha256

ROOT = Path(__file__).parents[2]
WORDS = {
    "ham": "are you coming home for dinner tonight see you tomorrow",
    "spam": "win a free prize now call urgent stop",
}


def write_rows(path: Path, rows: int, seed: int = 0) -> Path:
    """A CSV file whose texts are drawn from each label's own words, and some common ones."""
    generator = random.Random(seed)
    lines = ["text,label"]
    for number in range(rows):
        label = "spam" if number % 3 == 0 else "ham"
        words = generator.choices([*WORDS[label].split(), "the", "cat", "dog", "ok"], k=generator.randint(3, 12))
        lines.append(f"{' '.join(words)} {number},{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_recipe(folder: Path, *, rows: int = 96, **changes: Any) -> Path:
    """A folder with rows, a tiny encoder and a recipe of two short epochs; `changes` replace its parts."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "rows.csv").exists():
        write_rows(folder / "rows.csv", rows)
    if not (folder / "encoder").exists():
        tiny.encoder(folder / "encoder", initializer_range=0.2)  # learns in a few steps
    recipe = {
        "name": "tiny",
        "model": {"name": str(folder / "encoder")},
        "data": {"train": {"files": "rows.csv"}, "split": {"validation": 0.2, "test": 0.2}},
        "input": {"text": "text", "max_tokens": 32},
        "labels": {"column": "label"},
        "stages": [{"epochs": 2, "batch": {"rows": 8, "tokens": 64}, "optimizer": {"learning_rate": 1.0e-2}}],
        "select": {"metric": "f1", "keep": 2},
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def launch(
    config: str,
    recipe: Path,
    out: Path,
    *more: str,
    options: tuple[str, ...] = (),
    die: str = "",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[str]:
    """Start `accelerate launch` in the checkout's root, in fp32: what runs are compared in. options: the launcher's;
    die: where its end is, see run_folder/dying.py. environment: beside this
    process's own.
    """
    where = [
        "--config_file",
        f"launch_configs/{config}.yaml",
        "--mixed_precision",
        "no",
        "--main_process_port",
        free_port(),
    ]
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            *where,
            *options,
            "tests/trainer/run_folder/dying.py" if die else "trainer/run.py",
            "--config",
            str(recipe),
            "--out",
            str(out),
            *more,
        ],
        cwd=ROOT,
        env={**os.environ, "DIE": die, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def free_port() -> str:
    """A port for a launch of several processes: tests run beside each other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def log(run: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl of one kind: "step" or "evaluation"."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == kind]


def final_weights(run: Path) -> str:
    """The hash of the weights that the run ended with."""
    return sha256(run / "resume" / _current(run) / "model.safetensors")


def weights_apart(run: Path, other: Path) -> float:
    """The largest difference between the weights that two runs ended with."""
    found, expected = (load_file(run / "resume" / _current(run) / "model.safetensors") for run in (run, other))
    assert found.keys() == expected.keys()
    return max(float((found[name] - expected[name]).abs().max()) for name in found)


def _current(run: Path) -> str:
    return str(json.loads((run / "resume" / "current.json").read_text(encoding="utf-8"))["folder"])
