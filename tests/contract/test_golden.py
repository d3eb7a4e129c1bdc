"""Golden logits: which rows they are of, what is refused, and what an old checkpoint without them is."""

from pathlib import Path

import numpy as np
import pytest

from trainer.contract.errors import ArtifactError
from trainer.contract.golden import BOUND, GOLDEN_ROWS, Golden, choose, versions
from trainer.contract.labels import LabelSpace


def golden(logits: list[list[float]], **changes: str) -> Golden:
    """Golden logits of as many rows."""
    texts = [f"row {number}" for number in range(len(logits))]
    return Golden(
        texts=texts, pairs=None, logits=np.array(logits, dtype=np.float32), versions={**versions(), **changes}
    )


def test_rows_near_a_decision_and_the_longest_are_chosen() -> None:
    """Half of the rows are those nearest to another decision, of either kind; the shortest and the longest are in."""
    generator = np.random.default_rng(0)
    logits, lengths = generator.normal(size=(1000, 3)).astype(np.float32) * 5, np.arange(1000)
    for space in (LabelSpace(names=("a", "b", "c")), LabelSpace(names=("a", "b", "c"), kind="multi")):
        rows = choose(logits, lengths, space)
        probabilities = space.decode(logits).probabilities
        ordered = np.sort(probabilities, axis=1)
        margins = ordered[:, -1] - ordered[:, -2] if space.kind == "single" else np.abs(probabilities - 0.5).min(axis=1)
        assert len(rows) == GOLDEN_ROWS == len(set(rows.tolist()))
        assert set(np.argsort(margins)[: GOLDEN_ROWS // 2].tolist()) <= set(rows.tolist())
        assert {int(lengths.min()), int(lengths.max())} <= set(rows.tolist())
    assert choose(logits[:5], lengths[:5], LabelSpace(names=("a", "b", "c"))).tolist() == [0, 1, 2, 3, 4]


def test_rounding_passes_and_another_function_is_refused(tmp_path: Path) -> None:
    """The bound lies between: just within it passes, just beyond it names the libraries' versions then and now."""
    golden([[1.0, -4.0], [0.5, 2.0]], transformers="5.0.0").save(tmp_path)
    kept = Golden.open(tmp_path)
    assert kept is not None
    moved = kept.logits.copy()
    moved[1, 0] += 3.9 * BOUND
    assert kept.compare(moved, tmp_path) == pytest.approx(3.9 * BOUND, rel=1e-3)
    moved[1, 0] += 0.2 * BOUND
    with pytest.raises(ArtifactError, match="another function") as error:
        kept.compare(moved, tmp_path)
    assert f"transformers 5.0.0 then, {versions()['transformers']} now" in str(error.value)
    with pytest.raises(ArtifactError, match="another function"):
        kept.compare(np.full_like(moved, np.nan), tmp_path)
    with pytest.raises(ArtifactError, match="another function"):
        kept.compare(moved[:, :1], tmp_path)


def test_a_damaged_file_is_told_from_an_absent_one(tmp_path: Path) -> None:
    """No file is None, logits that are not finite write none, and a file of another shape is an error."""
    golden([[float("nan"), 1.0]]).save(tmp_path)
    assert Golden.open(tmp_path) is None
    for content in ('{"texts": ["a"]}', '{"versions": {}, "texts": ["a"], "pairs": null, "logits": [[1], [2]]}', "[]"):
        (tmp_path / "golden.json").write_text(content, encoding="utf-8")
        with pytest.raises(ArtifactError, match="holds no logits"):
            Golden.open(tmp_path)
