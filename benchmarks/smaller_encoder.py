"""What an encoder of fewer layers would give: the run's own first layers, taught by the whole encoder's logits.

    python benchmarks/smaller_encoder.py teach RUN OUT --layers 3 --unlabelled rows.csv [--device cuda] [--rows N]
    classifact export OUT --out small --no-timing --min-agreement 0.5 --max-drop 0.5
    python benchmarks/smaller_encoder.py compare BUNDLE small RUN --unlabelled rows.csv [--rounds 5]

`teach` fits the layers on the training rows and on the unlabelled rows but for the last share, which measures; the
loss is the squared difference of logits (Ba and Caruana 2014, arXiv 1312.6184). It writes OUT, a copy of the run with
the smaller checkpoint, OUT/agreement.json, and OUT/logits.npz with both models' logits of the rows that measure.
`compare` scores those rows with both bundles' int8 files, interleaved: agreement, and the ratio of rows/s. --rows: so
many rows teach; with --epochs 0 few are enough, where speed alone is asked for.
"""

import argparse
import shutil
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from export.cascade.rows import CascadeRows, Texts, cascade_rows
from export.trained_run import TrainedRun
from trainer.contract.encoding import Batch, Encoded, budget_batches
from trainer.contract.system.files import write_json

_TOKENS = 16_384
_RATE, _WARM = 3e-4, 0.1


def parts(run: Path, unlabelled: list[Path]) -> tuple[TrainedRun, Texts, Texts]:
    """The run, the rows that teach, and those that measure."""
    source = TrainedRun.open(run)
    rows = cascade_rows(run, unlabelled, source.validation, source.checkpoint.contract.input)
    measuring = rows.further if len(rows.further) else _validation(source)
    return source, _joined(rows), measuring


def _validation(source: TrainedRun) -> Texts:
    pairs = source.validation.pairs
    return Texts(texts=list(source.validation.texts), pairs=None if pairs is None else list(pairs))


def _joined(rows: CascadeRows) -> Texts:
    pairs = None if rows.train.pairs is None else [*rows.train.pairs, *(rows.guards.pairs or [])]
    return Texts(texts=[*rows.train.texts, *rows.guards.texts], pairs=pairs)


def opened(source: TrainedRun, layers: int | None, device: str) -> PreTrainedModel:
    """The run's network, or its first layers under its own head."""
    given = {} if layers is None else {"num_hidden_layers": layers}
    network: Any = AutoModelForSequenceClassification.from_pretrained(source.checkpoint.path, **given)
    return cast(PreTrainedModel, network.to(device))


def run_batch(network: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Logits of a padded batch."""
    names = network.forward.__code__.co_varnames
    given = {name: torch.from_numpy(array).to(network.device) for name, array in batch.named().items() if name in names}
    found: torch.Tensor = network(**given).logits
    return found


@torch.no_grad()
def logits_of(network: PreTrainedModel, source: TrainedRun, encoded: Encoded) -> NDArray[np.float32]:
    """float32 [N, C] in evaluation mode."""
    encoder = source.checkpoint.encoder()
    batches = budget_batches(encoded.lengths, np.argsort(-encoded.lengths, kind="stable"), _TOKENS)
    found = [run_batch(network, encoder.pad(encoded, batch)).float().cpu().numpy() for batch in batches]
    logits = np.empty((len(encoded), found[0].shape[1]), dtype=np.float32)
    logits[np.concatenate(batches)] = np.concatenate(found)
    return logits


def teach(options: argparse.Namespace) -> None:
    """Fit the first layers and write what came of it."""
    torch.manual_seed(0)
    source, teaching, measuring = parts(options.run, options.unlabelled)
    pairs = None if teaching.pairs is None else teaching.pairs[: options.rows]
    teaching = replace(teaching, texts=teaching.texts[: options.rows], pairs=pairs)
    encoder, space = source.checkpoint.encoder(), source.checkpoint.contract.labels
    teacher = opened(source, None, options.device).eval()
    encoded = encoder.encode(teaching.texts, teaching.pairs)
    measured = encoder.encode(measuring.texts, measuring.pairs)
    wanted, truth = logits_of(teacher, source, encoded), logits_of(teacher, source, measured)
    small = opened(source, options.layers, options.device)
    found, started = {}, time.perf_counter()
    for name, epochs in (("untaught", 0), ("taught", options.epochs)):
        _fit(small, source, encoded, wanted, epochs)
        given = logits_of(small.eval(), source, measured)
        found[name] = space.decode(given).agreement(space.decode(truth))
    figures = {
        "layers": options.layers,
        "of": int(teacher.config.num_hidden_layers),
        "rows_taught": len(teaching),
        "rows_measured": len(measuring),
        "epochs": options.epochs,
        "seconds": round(time.perf_counter() - started, 1),
        "agreement": found,
    }
    _write(options, source, small)
    np.savez(options.out / "logits.npz", small=given, encoder=truth)
    write_json(options.out / "agreement.json", figures)
    print(figures)


def _fit(
    network: PreTrainedModel, source: TrainedRun, encoded: Encoded, wanted: NDArray[np.float32], epochs: int
) -> None:
    encoder, drawn = source.checkpoint.encoder(), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.01)
    rows, size = len(wanted), 64
    steps = max(1, epochs * -(-rows // size))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps + 1, pct_start=_WARM)
    network.train()
    for epoch in range(epochs):
        order = drawn.permutation(rows)
        for start in range(0, rows, size):
            chosen = np.sort(order[start : start + size])
            given = run_batch(network, encoder.pad(encoded, chosen))
            loss = torch.nn.functional.mse_loss(given, torch.from_numpy(wanted[chosen]).to(network.device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call] # torch's own
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        print(f"epoch {epoch + 1}: last loss {loss.item():.4f}", file=sys.stderr, flush=True)


def _write(options: argparse.Namespace, source: TrainedRun, network: PreTrainedModel) -> None:
    """A copy of the run whose best checkpoint is the smaller one, so that `classifact export` takes it."""
    # Its test figures are of the whole encoder, and an export refuses figures of other weights.
    left = shutil.ignore_patterns("resume", "stage*", "test_metrics.json")
    shutil.copytree(options.run, options.out, dirs_exist_ok=True, ignore=left)
    folder = options.out / "checkpoints" / source.checkpoint.path.name
    shutil.copytree(source.checkpoint.path, folder, dirs_exist_ok=True)
    # Its golden logits are the whole encoder's.
    (folder / "golden.json").unlink(missing_ok=True)
    network.cpu().save_pretrained(folder)
    replace(source.checkpoint, path=folder).save()


def compare(options: argparse.Namespace) -> None:
    """Score the measuring rows with both bundles' int8 files and print agreement and the ratio of rows/s."""
    from serve.scorer import Scorer  # noqa: PLC0415  # a machine that only teaches has no ONNX Runtime

    _, _, measuring = parts(options.run, options.unlabelled)
    names = {"encoder": options.bundle, "small": options.small}
    rates: dict[str, list[float]] = {name: [] for name in names}
    scores = {}
    for _ in range(options.rounds):
        for name, bundle in names.items():
            with Scorer.open(bundle, precision="int8", device="cpu") as scorer:
                scorer.logits(measuring.texts[:64], None if measuring.pairs is None else measuring.pairs[:64])
                started = time.perf_counter()
                logits = scorer.logits(measuring.texts, measuring.pairs)
                rates[name].append(len(measuring) / (time.perf_counter() - started))
                scores[name] = scorer.labels.decode(logits)
    found = {name: statistics.median(rate) for name, rate in rates.items()}
    agreement = scores["small"].agreement(scores["encoder"])
    print(
        f"{len(measuring):,} rows, {options.rounds} rounds: {found['encoder']:.0f} and {found['small']:.0f} rows/s, "
        f"ratio {found['small'] / found['encoder']:.2f}, agreement of the int8 files {agreement:.4f}"
    )


def main() -> None:
    """Parse and run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("teach")
    first.add_argument("run", type=Path)
    first.add_argument("out", type=Path)
    first.add_argument("--layers", type=int, default=3)
    first.add_argument("--epochs", type=int, default=4)
    first.add_argument("--device", default="cpu")
    first.add_argument("--rows", type=int)
    first.set_defaults(do=teach)
    second = commands.add_parser("compare")
    second.add_argument("bundle", type=Path)
    second.add_argument("small", type=Path)
    second.add_argument("run", type=Path)
    second.add_argument("--rounds", type=int, default=5)
    second.set_defaults(do=compare)
    for command in (first, second):
        command.add_argument("--unlabelled", type=Path, action="append", default=[])
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
