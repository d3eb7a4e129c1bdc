"""Reading a run: what is damaged or too small is refused before any work."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from export.pipeline import ExportJob, export
from export.trained_run import BATCH_TOKENS, Sample, TrainedRun, spread
from tests.export.runs import contract, labelled
from trainer.contract.errors import ArtifactError, ClassifactError, InputError
from trainer.contract.figures.stamped import SPLIT_SCHEMA, write_figures


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of a run to damage."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_no_run(tmp_path: Path) -> None:
    """A path without a run is an input error."""
    with pytest.raises(InputError, match="no run"):
        TrainedRun.open(tmp_path / "nothing")


def test_run_without_best(copy: Path) -> None:
    """A run that has no best checkpoint yet says so, and how to go on."""
    (copy / "best.json").unlink()
    with pytest.raises(InputError, match=r"no checkpoint yet[\s\S]*--resume"):
        TrainedRun.open(copy)


def test_best_that_leaves_the_run(copy: Path) -> None:
    """best.json cannot point outside the run."""
    (copy / "best.json").write_text(json.dumps({"checkpoint": "../../..", "metric": "f1", "value": 1}))
    with pytest.raises(ArtifactError, match="leads out"):
        TrainedRun.open(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_flipped_byte_of_a_checkpoint(copy: Path, name: str) -> None:
    """One flipped byte in the checkpoint is refused, and the file is named."""
    path = copy / "checkpoints" / "step-10" / name
    content = bytearray(path.read_bytes())
    content[-len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="was changed") as caught:
        TrainedRun.open(copy)
    assert name in caught.value.details["where"]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "special_tokens_map.json", "contract.json"])
def test_missing_file_of_a_checkpoint(copy: Path, name: str) -> None:
    """A checkpoint that lacks a file is refused, and the file is named."""
    (copy / "checkpoints" / "step-10" / name).unlink()
    with pytest.raises(ArtifactError, match="missing") as caught:
        TrainedRun.open(copy)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "1", '"x"', "{}", '{"files": 3}', '{"files": [{"file": 1}]}', "[" * 9999]
)
@pytest.mark.parametrize(
    "name",
    ["best.json", "splits/splits.json", "splits/validation.jsonl", "test_metrics.json", "decisions.json"],
)
def test_a_file_of_a_run_that_holds_something_else(copy: Path, name: str, content: str) -> None:
    """Whatever a stranger's run holds where figures, rows or names are looked for, the error is one of ours; a summary
    of no files is one.
    """
    (copy / name).write_text(content)
    if (name, content) == ("splits/splits.json", "{}"):
        assert TrainedRun.open(copy).training == {"files": []}
        return
    with pytest.raises(ClassifactError) as caught:
        TrainedRun.open(copy)
    assert Path(name).name in caught.value.details["where"]


def test_too_few_validation_rows(copy: Path) -> None:
    """A handful of rows proves nothing and is refused with the number needed."""
    space = contract().labels
    labelled(8, space).save(copy / "splits" / "validation.jsonl", space)
    with pytest.raises(ArtifactError, match="too few") as caught:
        TrainedRun.open(copy)
    assert caught.value.details["expected"] == "at least 32"


def test_test_figures_of_other_weights_are_refused(copy: Path) -> None:
    """Figures that `evaluate` wrote go into the manifest; those of another model's weights end the export."""
    checkpoint = TrainedRun.open(copy).checkpoint
    write_figures(copy / "test_metrics.json", {"schema": SPLIT_SCHEMA, "rows": 7}, checkpoint)
    assert (TrainedRun.open(copy).test_metrics or {})["rows"] == 7
    figures = json.loads((copy / "test_metrics.json").read_text())
    figures["measured_on"]["weights"] = "0" * 64
    (copy / "test_metrics.json").write_text(json.dumps(figures))
    with pytest.raises(ArtifactError, match="another hash of its weights") as caught:
        TrainedRun.open(copy)
    assert "classifact evaluate" in caught.value.details["do"]


def test_cells_of_rows_and_points_of_curves_stay_in_the_run(copy: Path) -> None:
    """Of the test figures a bundle gets neither slices by a column, which may name people, nor curves; slices by what
    is seen of a text go along.
    """
    parts = [{"by": "author", "column": True, "value": "Jo Doe"}, {"by": "url", "column": False, "value": "yes"}]
    slices = {"columns": ["author"], "found": parts}
    figures = {"schema": SPLIT_SCHEMA, "curves": [1], "slices": slices, "worst_slices": "author is 'Jo Doe'"}
    write_figures(copy / "test_metrics.json", figures, TrainedRun.open(copy).checkpoint)
    found = TrainedRun.open(copy).test_metrics or {}
    assert found["slices"]["found"] == parts[1:]
    assert found.keys() == {"schema", "slices", "measured_on"}
    write_figures(
        copy / "test_metrics.json", figures | {"slices": {"columns": [], "found": []}}, TrainedRun.open(copy).checkpoint
    )
    assert "worst_slices" in (TrainedRun.open(copy).test_metrics or {})


def test_label_outside_the_label_space(copy: Path) -> None:
    """A validation row with a label that the classifier does not have is an error that names it."""
    path = copy / "splits" / "validation.jsonl"
    path.write_text(path.read_text().replace('"spam"', '"spm"', 1))
    with pytest.raises(InputError, match="'spm'"):
        TrainedRun.open(copy)


def test_unknown_family(copy: Path, tmp_path: Path) -> None:
    """A family that no classifier is known of is refused by name, with the nearest name that is."""
    checkpoint = copy / "checkpoints" / "step-10"
    config = json.loads((checkpoint / "config.json").read_text()) | {"model_type": "distilbret"}
    (checkpoint / "config.json").write_text(json.dumps(config))
    saved = json.loads((checkpoint / "contract.json").read_text())
    del saved["sha256"]["config.json"]
    (checkpoint / "contract.json").write_text(json.dumps(saved))
    with pytest.raises(InputError, match="models of the family 'distilbret'") as caught:
        export(ExportJob(run=copy, out=tmp_path / "bundle", timing=False, quiet=True))
    assert "'distilbert'" in caught.value.details["do"]


def test_sample_spreads_over_lengths() -> None:
    """A sample has the asked size, no row twice, and keeps the shortest, the middle and the longest row."""
    lengths = np.random.default_rng(0).permutation(np.arange(1, 1001))
    rows = spread(lengths, 100)
    assert len(np.unique(rows)) == 100
    assert np.isin([1, 1000], lengths[rows]).all()
    assert abs(np.median(lengths[rows]) - 500) < 10
    assert np.array_equal(spread(lengths, 5000), np.arange(1000))


def test_blocks(run: Path) -> None:
    """Blocks hold each row once, of nearly one length each, the shortest and the longest rows among them; where there
    are fewer rows than asked for, all of them.
    """
    source = TrainedRun.open(run)
    sample = Sample.of(source.validation, source.checkpoint.encoder())
    lengths = sample.encoded.lengths
    blocks = sample.blocks(3, 8)
    batches = blocks.padded(8)
    assert [len(batch.ids) for batch in batches] == [8, 8, 8]
    assert (batches[0].ids.shape[1], batches[-1].mask.sum(axis=1).min()) == (lengths.max(), lengths.min())
    assert [batch.ids.shape[1] for batch in batches] == sorted((batch.ids.shape[1] for batch in batches), reverse=True)
    ordered = np.sort(lengths)[::-1]
    assert batches[1].mask.sum(axis=1).tolist() in [
        ordered[start : start + 8].tolist() for start in range(len(ordered))
    ]
    assert len(sample.blocks(5, len(sample))) == len(sample)


def test_rows_within_tokens(run: Path) -> None:
    """A budget of tokens becomes a number of rows by their mean length, within its bounds."""
    source = TrainedRun.open(run)
    sample = Sample.of(source.validation, source.checkpoint.encoder())
    mean = sample.encoded.lengths.mean()
    assert sample.within(int(10 * mean) + 1, 50) == 10
    assert sample.within(10_000_000, 50) == 50
    assert sample.within(0, 50) == 1


def test_sample_batches(run: Path) -> None:
    """Every row is in exactly one batch of at most the token budget, and logits return to row order."""
    source = TrainedRun.open(run)
    sample = Sample.of(source.validation, source.checkpoint.encoder(), at_most=50)
    assert sorted(np.concatenate(sample.batches).tolist()) == list(range(50))
    assert all(batch.ids.size <= BATCH_TOKENS for batch in sample.padded())
    first_tokens = [batch.astype(np.float32)[:, None] for batch in sample.batches]
    assert sample.in_order(first_tokens)[:, 0].tolist() == list(range(50))
