"""Runs that are split over two processes, and what they must have in common with those of one."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer import runs
from trainer.contract.checkpoint import Checkpoint
from trainer.network.load import open_checkpoint
from trainer.opening.golden import check_golden

# AdamW's default epsilon makes whole steps of rounding where a weight has no gradient (a key's bias).
STAGE = {
    "epochs": 1,
    "evaluate_every": 4,
    "batch": {"rows": 8, "tokens": 48},
    "optimizer": {"learning_rate": 1e-3, "epsilon": 1e-4},
}
STEPS = 7


def write(folder: Path, *stages: dict[str, Any]) -> Path:
    """A recipe without dropout, whose random numbers differ between processes by design, with accumulation: 48 padded
    tokens of 8 rows. The last step has 6 rows, and micro-batches differ in number between the processes.
    """
    return runs.write_recipe(
        folder,
        rows=90,
        model={"name": str(folder / "encoder"), "dropout": 0.0},
        stages=[{**STAGE, **s} for s in stages],
    )


def two_stages(folder: Path) -> Path:
    """Two stages, the second with frozen layers."""
    return write(folder, {}, {"freeze": {"embeddings": True, "keep_last_layers": 1}})


def launched(config: str, recipe: Path, out: Path, *more: str, options: tuple[str, ...] = (), die: str = "") -> str:
    """Launch a run, which must end well, or die; gives its standard error. options: the launcher's."""
    process = runs.launch(config, recipe, out, *more, options=options, die=die)
    _, errors = process.communicate(timeout=200)
    assert (process.returncode == 0) is not bool(die), errors
    return errors


def assert_same(run: Path, one: Path) -> None:
    """The same steps, figures and final weights up to rounding, and checkpoints of the same content."""
    for name in ("learning_rate", "loss", "gradient_norm"):
        found, expected = ([line[name] for line in runs.log(out, "step")] for out in (run, one))
        assert found == pytest.approx(expected, rel=1e-3)
    for found, expected in zip(runs.log(run, "evaluation"), runs.log(one, "evaluation"), strict=True):
        assert found.pop("kind") == expected.pop("kind")
        # What one answer for all rows would score: of the rows alone.
        assert found.pop("constant") == expected.pop("constant")
        assert found == pytest.approx(expected, rel=1e-3)
    assert runs.weights_apart(run, one) < 1e-5
    found, expected = (Checkpoint.best(out) for out in (run, one))
    found.verify()
    assert "golden rows: logits within" in check_golden(found, open_checkpoint(found.path).network)
    weights, others = (open_checkpoint(best.path).network.state_dict() for best in (found, expected))
    assert {name: tensor.shape for name, tensor in weights.items()} == {n: t.shape for n, t in others.items()}
    assert max(float((weights[name] - others[name]).abs().max()) for name in weights) < 1e-5
