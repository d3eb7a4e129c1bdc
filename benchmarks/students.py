"""Other students of the same rows: what each answers, by the export's own road.

    python benchmarks/students.py RUN BUNDLE --unlabelled rows.csv [--student words ...] [--guards 3000 ...]

BUNDLE is one that `classifact export RUN` made; its int8 file teaches. For each student the certificate is printed, as
`classifact inspect` would:

* pieces: what the export makes
* words: whole words and pairs of them, hashed into 2^17 numbers
* both: pieces and, after them, whole words
* table: pieces whose vectors begin as those of the encoder's own embedding table, reduced by its main directions

--guards: how many rows set guards. Twenty times so many are drawn of all that did not teach, and what is then answered
of the others is told, with the standard deviation over the draws. More than there are are drawn with replacement, and
what is answered is then told of all.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from export.bundle import Bundle
from export.cascade import build, training
from export.cascade.certificate import differing
from export.cascade.certify import certify
from export.cascade.rows import Texts, cascade_rows
from export.cascade.student import STUDENT_FILE, Student
from export.cascade.telling import cascade_lines
from export.cascade.training import Taught
from export.trained_run import TrainedRun
from trainer.contract.encoding import Encoded, Ints
from trainer.contract.system.progress import Progress

WORDS = 2**17
STUDENTS = ("pieces", "words", "both", "table")


class Teacher(build._Teacher):
    """Scores rows once for all students, and hands each the features it reads."""

    kind = "pieces"
    known: ClassVar[dict[str, Taught]] = {}
    later: NDArray[np.bool_]
    """Which pieces go on with a word, [V]."""

    def __init__(self, job: build.CascadeJob) -> None:
        super().__init__(job)
        self.pieces = self.vocabulary
        self.vocabulary = {"words": WORDS, "both": self.pieces + WORDS}.get(self.kind, self.pieces)

    def teach(self, rows: Texts, what: str) -> Taught:
        """The rows with their logits and this student's features."""
        if what not in self.known:
            self.known[what] = super().teach(rows, what)
        found = self.known[what]
        if self.kind == "words":
            return replace(found, encoded=words_of(found.encoded, self.later))
        return replace(found, encoded=self._both(found.encoded)) if self.kind == "both" else found

    def _both(self, encoded: Encoded) -> Encoded:
        words = words_of(encoded, self.later)
        order = np.argsort(np.concatenate([_rows(encoded), _rows(words)]), kind="stable")
        ids = np.concatenate([encoded.ids, words.ids + self.pieces])[order].astype(np.int32)
        return replace(
            encoded, ids=ids, types=np.zeros(len(ids), dtype=np.int8), offsets=encoded.offsets + words.offsets
        )


def _rows(encoded: Encoded) -> Ints:
    return np.repeat(np.arange(len(encoded)), encoded.lengths)


def words_of(encoded: Encoded, later: NDArray[np.bool_]) -> Encoded:
    """Each word as one number: a hash of its pieces and their places in it."""
    begins = ~later[encoded.ids]
    begins[encoded.offsets[:-1][encoded.lengths > 0]] = True
    starts = np.flatnonzero(begins)
    place = np.arange(len(begins)) - starts[np.cumsum(begins) - 1]
    odd, more = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
    mixed = encoded.ids.astype(np.uint64) * odd
    mixed = (mixed ^ (mixed >> np.uint64(31))) * (np.uint64(2) * place.astype(np.uint64) + np.uint64(1)) * more
    summed = np.add.reduceat(mixed, starts)
    summed = (summed ^ (summed >> np.uint64(29))) * odd
    ids = ((summed ^ (summed >> np.uint64(32))) % np.uint64(WORDS)).astype(np.int32)
    counts = np.bincount(_rows(encoded)[starts], minlength=len(encoded))
    return replace(
        encoded,
        ids=ids,
        types=np.zeros(len(ids), dtype=np.int8),
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)]),
    )


def reduced(source: TrainedRun) -> NDArray[np.float32]:
    """The encoder's embedding table in its main directions, [V, HIDDEN], as wide as vectors begin otherwise."""
    weights = load_file(source.checkpoint.path / "model.safetensors")
    table = next(array for name, array in weights.items() if "word_embeddings" in name).astype(np.float32)
    table = table - table.mean(axis=0)
    main = np.linalg.eigh(table.T @ table)[1][:, ::-1][:, : training.HIDDEN]
    found = table @ main
    return np.asarray(0.1 * found / found.std(), dtype=np.float32)


def by_guards(bundle: Bundle, path: Path, vocabulary: int, guards: list[int]) -> None:
    """What a student answers of rows that set no guard, by how many do."""
    space = bundle.contract.labels
    student = Student.open(path, vocabulary=vocabulary, labels=len(space))
    apart = [Teacher.known[what] for what in Teacher.known if "teach" not in what]
    said = space.decode(np.concatenate([student.logits(taught.encoded) for taught in apart]))
    truth = space.decode(np.concatenate([taught.logits for taught in apart]))
    for size, agreement in [(size, agreement) for size in guards for agreement in (0.99, 0.995)]:
        found = []
        for draw in range(20):
            drawn, count = np.random.default_rng(draw), len(said.decisions)
            order = drawn.permutation(count)
            ours, others = (order[:size], order[size:]) if size < count else (drawn.integers(0, count, size), order)
            target = certify(said.take(ours), truth.take(ours), space, agreement)
            rest = said.take(others)
            taken = np.zeros(len(others), dtype=np.bool_) if target is None else target.takes(rest, space)
            found.append((taken.mean(), (taken & differing(rest, truth.take(others))).mean()))
        coverage, wrong = np.mean(found, axis=0)
        print(f"{size:,} guards, {agreement}: {coverage:.1%} +- {np.std(found, axis=0)[0]:.1%}, differ {wrong:.2%}")


def main() -> None:
    """Make each student and print its certificate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--unlabelled", type=Path, action="append", default=[])
    parser.add_argument("--student", choices=STUDENTS, action="append")
    parser.add_argument("--guards", type=int, nargs="+", default=[])
    options = parser.parse_args()
    source, bundle = TrainedRun.open(options.run), Bundle.open(options.bundle)
    rows = cascade_rows(options.run, options.unlabelled, source.validation, source.checkpoint.contract.input)
    vocabulary = json.loads((source.checkpoint.path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    Teacher.later = np.zeros(1 + max(vocabulary.values()), dtype=np.bool_)
    Teacher.later[[number for piece, number in vocabulary.items() if piece.startswith("##")]] = True
    build._Teacher, begin, table = Teacher, training._first_vectors, reduced(source)  # type: ignore[misc]

    def from_table(features: Ints, generator: torch.Generator) -> torch.Tensor:  # noqa: ARG001 -- as the other
        ours = (features < len(table))[:, None]
        return torch.from_numpy(np.where(ours, table[np.minimum(features, len(table) - 1)], np.float32(0)))

    for kind in options.student or STUDENTS:
        Teacher.kind = kind
        training._first_vectors = from_table if kind == "table" else begin  # type: ignore[assignment] # a stand-in
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(bundle.path, folder, dirs_exist_ok=True)
            job = build.CascadeJob(
                source=source,
                rows=rows,
                graphs=bundle.manifest.graphs,
                folder=Path(folder),
                progress=Progress(quiet=True),
                timing=False,
            )
            print(kind, *cascade_lines(build.build_cascade(job)), sep="\n", flush=True)
            if kind in ("pieces", "table"):
                by_guards(bundle, Path(folder) / STUDENT_FILE, len(table), options.guards)


if __name__ == "__main__":
    main()
