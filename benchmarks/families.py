"""Which families of encoders each exporter writes, and which checkpoints of one lane the other reads, as a table.

    .venv/bin/python benchmarks/families.py FOLDER      in each lane's environment, and then in the first one's again
    .venv-5/bin/python benchmarks/families.py FOLDER

Each family is a tiny random model. An exporter writes it if logits are torch's within 1e-5 on 60 texts of 1 to 512
tokens, as exported and after every pass. A lane reads a checkpoint of the other if it computes the golden logits in it.
What is done stays in FOLDER; the table is printed of what both lanes have done so far.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import transformers
from transformers import CONFIG_MAPPING

from tests import tiny
from tests.export.passes.graphs import FAMILIES, FAMILIES_5, USABLE, from_torch
from tests.export.runs import contract, texts
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ClassifactError
from trainer.opening.checkpoint import open_network
from trainer.opening.config import network_class
from trainer.opening.golden import check_golden, make_golden

# Encoders beside those that the tests hold, at sizes that make them tiny.
MORE: dict[str, dict[str, Any]] = {
    "big_bird": {"attention_type": "original_full"},
    "camembert": {"max_position_embeddings": 514, "pad_token_id": 1},
    "convbert": {},
    "data2vec-text": {"max_position_embeddings": 514, "pad_token_id": 1},
    "ernie": {},
    "flaubert": {"emb_dim": 32, "n_layers": 2, "n_heads": 4},
    "fnet": {},
    "funnel": {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64, "block_sizes": [1, 1]},
    "ibert": {"max_position_embeddings": 514, "pad_token_id": 1},
    "longformer": {"max_position_embeddings": 514, "pad_token_id": 1, "attention_window": 16},
    "luke": {"max_position_embeddings": 514, "pad_token_id": 1, "entity_vocab_size": 10, "entity_emb_size": 16},
    "megatron-bert": {},
    "mobilebert": {"embedding_size": 32, "true_hidden_size": 32, "intra_bottleneck_size": 32},
}
TESTED = {**FAMILIES, **FAMILIES_5}
SIZES = {**TESTED, **MORE}
LANE = f"lane {transformers.__version__.split('.')[0]}"
BOUND = 1e-5


def main() -> None:
    """Do what this environment has not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    own = folder / LANE
    own.mkdir(parents=True, exist_ok=True)
    for family in SIZES:
        done = own / f"{family}.json"
        if family in CONFIG_MAPPING and not done.exists():
            done.write_text(json.dumps(write(own / family, family), indent=1, allow_nan=False), encoding="utf-8")
            print(f"{LANE} {family}: {done.read_text(encoding='utf-8')}", file=sys.stderr, flush=True)
    for other in folder.iterdir():
        if other != own:
            found = {path.parent.name: read(path) for path in sorted(other.glob("*/checkpoint"))}
            (own / "reads").write_text(json.dumps(found, indent=1, allow_nan=False), encoding="utf-8")
    print(table(folder))


def write(folder: Path, family: str) -> dict[str, Any]:
    """Make a tiny checkpoint with golden logits, and what each exporter makes of it: {exporter: passes or error}."""
    changes = {"initializer_range": 0.1, "spread": 1.0, **SIZES[family]}
    with torch.device("meta"):
        size = sum(weight.numel() for weight in network_class(family)(tiny.config(family, **changes)).parameters())
    if size > 2_000_000:
        raise SystemExit(f"{family} is not tiny: {size:,} weights")
    made = tiny.checkpoint(folder / "checkpoint", contract(max_tokens=512), family, **changes)
    make_golden(open_network(made.path), made.encoder(), texts(40, 80), None).save(made.path)
    made.save()
    return {exporter: _attempt(made, exporter, folder) for exporter in USABLE}


def _attempt(made: Checkpoint, exporter: str, scratch: Path) -> dict[str, Any]:
    try:
        exported, rewritten, passes = from_torch(made, exporter, scratch)
    # Each exporter raises what it likes, in sessions too.
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"[:400]}
    return {"exported": exported, "rewritten": rewritten, "passes": passes}


def read(checkpoint: Path) -> str:
    """Empty where this lane computes the golden logits, else why not."""
    try:
        check_golden(Checkpoint.open(checkpoint), open_network(checkpoint))
    except ClassifactError as error:
        return f"{error.details.get('found', '')}: {error}"[:400]
    return ""


def table(folder: Path) -> str:
    """A row for each family that both lanes have done."""
    lanes = sorted(path.name for path in folder.iterdir())
    columns = [(lane, name) for lane in lanes for name in _exporters(folder / lane)]
    lines = [
        "| family | "
        + " | ".join(f"{lane}, {name}" for lane, name in columns)
        + " | "
        + " | ".join(f"{lane} reads the other's" for lane in lanes)
        + " |",
        "|---|" + "---|" * (len(columns) + len(lanes)),
    ]
    for family in SIZES:
        cells = [_cell(folder / lane / f"{family}.json", name) for lane, name in columns]
        cells += [_reads(folder / lane / "reads", family) for lane in lanes]
        lines.append(f"| {family}{'' if family in TESTED else ' *'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _exporters(lane: Path) -> list[str]:
    return list(json.loads((lane / "bert.json").read_text(encoding="utf-8")))


def _cell(path: Path, exporter: str) -> str:
    if not path.exists():
        return "-"
    found = json.loads(path.read_text(encoding="utf-8"))[exporter]
    if "error" in found:
        return "cannot"
    return "yes" if max(found["exported"], found["rewritten"]) < BOUND else "**another function**"


def _reads(path: Path, family: str) -> str:
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return "" if family not in found else "refused" if found[family] else "yes"


if __name__ == "__main__":
    main()
