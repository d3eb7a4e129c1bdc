"""Files of figures are read beside the weights that they were measured on, and beside no others."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests import tiny
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError
from trainer.contract.figures.stamped import read_figures, write_figures


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """A checkpoint whose figures lie in `figures.json` beside it."""
    made = tiny.checkpoint(tmp_path / "made")
    write_figures(tmp_path / "figures.json", {"f1": 0.5, "loss": float("nan")}, made)
    return made


def test_figures_of_these_weights_are_read(checkpoint: Checkpoint) -> None:
    """What was written comes back, with null for what is not defined."""
    found = read_figures(checkpoint.path.parent / "figures.json", checkpoint)
    assert (found["f1"], found["loss"]) == (0.5, None)


def test_figures_of_other_weights_are_refused(checkpoint: Checkpoint) -> None:
    """One changed byte of the weights makes the figures another model's."""
    weights = checkpoint.path / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for decided in (True, False):
        with pytest.raises(ArtifactError, match="another hash of its weights"):
            read_figures(checkpoint.path.parent / "figures.json", checkpoint, decided=decided)


def test_figures_of_other_thresholds_are_refused(checkpoint: Checkpoint) -> None:
    """The same weights that decide otherwise have other figures; what chose the checkpoint may still be read."""
    labels = dataclasses.replace(checkpoint.contract.labels, thresholds=(0.3, 0.7))
    other = dataclasses.replace(checkpoint, contract=dataclasses.replace(checkpoint.contract, labels=labels))
    path = checkpoint.path.parent / "figures.json"
    with pytest.raises(ArtifactError, match="another hash of its contract"):
        read_figures(path, other)
    assert read_figures(path, other, decided=False)["f1"] == 0.5


def test_figures_of_another_version_are_refused(checkpoint: Checkpoint) -> None:
    """A file of the shape of an earlier version is named, with what was found; where any will do, it is read."""
    path = checkpoint.path.parent / "figures.json"
    with pytest.raises(ArtifactError, match="another version") as caught:
        read_figures(path, checkpoint, schema=2)
    assert "schema none" in str(caught.value)
    write_figures(path, {"schema": 2}, checkpoint)
    assert read_figures(path, checkpoint, schema=2)["schema"] == 2


@pytest.mark.parametrize("content", [{"f1": 1.0}, {"f1": 1.0, "measured_on": "me"}, [1]])
def test_figures_that_do_not_say_on_what_are_refused(checkpoint: Checkpoint, content: object) -> None:
    """A file without hashes, with something else in their place, or that is no object at all may be of any weights."""
    path = checkpoint.path.parent / "figures.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="not of this checkpoint"):
        read_figures(path, checkpoint)
