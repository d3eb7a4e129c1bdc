"""The student in numpy: a function of each row, read from a file that may be anybody's."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from export.cascade import training
from export.cascade.certify import certify
from export.cascade.student import Student, pair_buckets, write_student
from export.cascade.training import Taught, scaled, train_student
from tests.export.cascade.making import FOUR, SEVERAL, encoded, pool, student
from trainer.contract.errors import ArtifactError
from trainer.contract.labels import LabelSpace


def rows(count: int, seed: int = 0) -> list[list[int]]:
    """Token ids of rows of 0 to 300 tokens."""
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 50, draw.integers(0, 300)).tolist() for _ in range(count)]


def test_logits_are_a_function_of_the_row() -> None:
    """A row has the same logits to the last bit alone, among others, and wherever it stands; an empty one too."""
    made, given = student(), rows(200)
    together = made.logits(encoded(given))
    alone = np.concatenate([made.logits(encoded([row])) for row in given])
    turned = made.logits(encoded(given[::-1]))[::-1]
    assert together.tobytes() == alone.tobytes() == np.ascontiguousarray(turned).tobytes()
    assert np.isfinite(made.logits(encoded([[], [1], []]))).all()


def test_logits_are_those_of_the_formula() -> None:
    """Weighted mean of the vectors of pieces and pairs, bias, ReLU, product: as written down row by row."""
    made, (row,) = student(), [[3, 7, 7, 1]]
    buckets, count = pair_buckets(np.array(row, dtype=np.int32), np.array([4]), len(made.pairs))
    assert count.tolist() == [3]
    features = np.concatenate([made.pieces[row], made.pairs[buckets]])
    mean = np.average(features[:, :-1] / features[:, -1:], axis=0, weights=features[:, -1])
    expected = np.maximum(mean + made.bias, 0) @ made.output + made.output_bias
    np.testing.assert_allclose(made.logits(encoded([row]))[0], expected, rtol=1e-5)


def test_pairs_stay_within_their_row() -> None:
    """No pair is made of one row's end and the next one's start."""
    both, counts = pair_buckets(np.array([1, 2, 3, 4, 5], dtype=np.int32), np.array([2, 0, 3]), 1 << 20)
    first, _ = pair_buckets(np.array([1, 2], dtype=np.int32), np.array([2]), 1 << 20)
    second, _ = pair_buckets(np.array([3, 4, 5], dtype=np.int32), np.array([3]), 1 << 20)
    assert counts.tolist() == [1, 0, 2]
    assert both.tolist() == [*first.tolist(), *second.tolist()]


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    """Written and read the logits are the same bits, and the library of safetensors reads the same tensors."""
    made = student()
    write_student(tmp_path / "bundle" / "student.safetensors", made)
    read = Student.open(tmp_path / "bundle" / "student.safetensors", vocabulary=50, labels=3)
    given = encoded(rows(20))
    assert read.logits(given).tobytes() == made.logits(given).tobytes()
    by_library = load_file(tmp_path / "bundle" / "student.safetensors")
    assert {name: array.tolist() for name, array in by_library.items()} == {
        name: array.tolist() for name, array in made.tensors().items()
    }


def _header(change: Callable[[dict[str, dict[str, object]]], object]) -> Callable[[bytes], bytes]:
    """A file whose header was changed."""

    def changed(data: bytes) -> bytes:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        change(header)
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + size :]

    return changed


def _weightless(data: bytes) -> bytes:
    size = 8 + int.from_bytes(data[:8], "little")
    # The last number of the first piece.
    return data[: size + 16] + bytes(2) + data[size + 18 :]


def _nan(data: bytes) -> bytes:
    return data[:-4] + np.array([np.nan], dtype="<f4").tobytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:0],
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: (2**63).to_bytes(8, "little") + data[8:],
        lambda data: data[:8] + b"[" * 100 + data[108:],
        _nan,
        _weightless,
        _header(lambda header: header.pop("pairs")),
        _header(lambda header: header.update(extra=header["bias"])),
        _header(lambda header: header["bias"].update(dtype="I8")),
        _header(lambda header: header["bias"].update(shape=[-8])),
        _header(lambda header: header["bias"].update(shape=[2, 4])),
        _header(lambda header: header["bias"].update(shape=[True] * 3)),
        _header(lambda header: header["pieces"].update(shape=[25, 18])),
        _header(lambda header: header["pieces"].update(data_offsets=[0, 2**50])),
        _header(lambda header: header["output"].update(data_offsets=[0, 96])),
        _header(lambda header: header.update(bias=7)),
    ],
)
def test_a_hostile_file_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """Cut, padded, lying headers, other kinds and shapes, NaN, weights of zero: an ArtifactError names the file."""
    path = tmp_path / "student.safetensors"
    write_student(path, student())
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ArtifactError, match="student's file") as error:
        Student.open(path, vocabulary=50, labels=3)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("space", [FOUR, SEVERAL], ids=["single", "multi"])
def test_weights_that_overflow_take_no_row(space: LabelSpace) -> None:
    """Numbers so large that logits are none: such a row is the encoder's, and nothing is printed about it."""
    made = student(labels=len(space))
    made = replace(made, bias=made.bias + 100, output=np.sign(made.output) * np.float32(3e38))
    proven = certify(*pool(4000, space), space, 0.98)
    assert proven is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits = made.logits(encoded(rows(50)))
        taken = proven.takes(space.decode(logits), space)
    broken = np.isnan(space.decode(logits).probabilities).any(axis=1)
    assert broken.any()
    assert not taken[broken].any()


@pytest.mark.parametrize(("vocabulary", "labels"), [(51, 3), (50, 4)])
def test_a_file_of_another_bundle_is_refused(tmp_path: Path, vocabulary: int, labels: int) -> None:
    """Fewer word pieces than the tokenizer has, or other labels, are refused when the file is opened."""
    write_student(tmp_path / "student.safetensors", student())
    with pytest.raises(ArtifactError, match="student's file"):
        Student.open(tmp_path / "student.safetensors", vocabulary=vocabulary, labels=labels)


@pytest.mark.parametrize("space", [FOUR, SEVERAL], ids=["single", "multi"])
def test_training_gives_the_same_bytes_twice_and_learns(
    tmp_path: Path, space: LabelSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label that one word makes is learnt, and that word weighs more than others; a second training writes the same
    file; one thread trains, and torch has its own number again afterwards.
    """
    draw = np.random.default_rng(0)
    given = [[*draw.integers(10, 50, 3).tolist(), int(draw.integers(0, 3))] for _ in range(400)]
    logits = np.full((400, len(space)), -4.0, dtype=np.float32)
    logits[np.arange(400), [row[-1] for row in given]] = 4
    taught = Taught(encoded=encoded(given[:300]), logits=logits[:300])
    held = Taught(encoded=encoded(given[300:]), logits=logits[300:])
    files, threads, before = [], set[int](), torch.get_num_threads()
    loss = training._training_loss

    def watched(*given: Any) -> torch.Tensor:
        threads.add(torch.get_num_threads())
        return loss(*given)

    monkeypatch.setattr(training, "_training_loss", watched)
    for name in ("one", "two"):
        made = train_student(taught, held, space, 50)
        write_student(tmp_path / name, made)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
    # More threads would add in an order of their own.
    assert (threads, torch.get_num_threads()) == ({1}, before)
    said = space.decode(made.logits(held.encoded))
    assert said.agreement(space.decode(held.logits)) > 0.9
    assert made.pieces[:3, -1].min() > 1.2 * made.pieces[10:, -1].mean()


@pytest.mark.parametrize("space", [FOUR, SEVERAL], ids=["single", "multi"])
def test_a_student_that_is_too_sure_is_scaled_to_be_as_sure_as_its_encoder(space: LabelSpace) -> None:
    """Of logits half as large, and five times, the scale that the encoder's probabilities show comes back."""
    made, given = student(labels=len(space)), encoded(rows(300))
    held = Taught(encoded=given, logits=made.logits(given))
    for factor in (0.5, 5.0):
        wrong = replace(
            made, output=made.output * np.float32(factor), output_bias=made.output_bias * np.float32(factor)
        )
        np.testing.assert_allclose(scaled(wrong, held, space).logits(given), held.logits, rtol=0.05, atol=0.05)
