"""Other students of the same rows: what each answers, by the export's own road.

    python benchmarks/students.py RUN BUNDLE --unlabelled rows.csv [--student rows ...] [--seed 1 ...] [--guards 3000]

BUNDLE is one that `classifact export RUN` made; its int8 file teaches. For each student the certificate is printed, as
`classifact inspect` would:

* both: what the export makes
* rows: taught by the rows alone, without windows of them
* even: every piece and pair weighs the same
* neither: rows alone, which all weigh the same

--guards: how many rows set guards. Twenty times so many are drawn of all that did not teach, and what is then answered
of the others is told, with the standard deviation over the draws. More than there are are drawn with replacement, and
what is answered is then told of all.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from export.bundle import Bundle
from export.cascade import build, training
from export.cascade.certificate import differing
from export.cascade.certify import certify
from export.cascade.rows import cascade_rows
from export.cascade.student import STUDENT_FILE, Student
from export.cascade.telling import cascade_lines
from export.cascade.training import Taught, train_student
from export.cascade.windows import WINDOWS
from export.trained_run import TrainedRun
from trainer.contract.encoding import Encoded
from trainer.contract.labels import LabelSpace
from trainer.contract.system.progress import Progress

STUDENTS = ("both", "rows", "even", "neither")


class Teacher(build._Teacher):
    """Scores rows once for all students."""

    known: ClassVar[dict[str, Taught]] = {}

    def score(self, encoded: Encoded, what: str) -> Taught:
        """The rows with their logits."""
        if what not in self.known:
            self.known[what] = super().score(encoded, what)
        return self.known[what]


def without_windows(rows: Taught, held: Taught, space: LabelSpace, vocabulary: int) -> Student:
    """A student of the rows alone: windows come last."""
    whole = np.arange(len(rows.logits)) < len(rows.logits) - WINDOWS
    return train_student(build._some(rows, whole), held, space, vocabulary)


def even(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors that all weigh one."""
    return torch.cat([vectors[:, :-1], torch.ones_like(vectors[:, -1:])], dim=1)


def by_guards(bundle: Bundle, path: Path, vocabulary: int, guards: list[int]) -> None:
    """What a student answers of rows that set no guard, by how many do."""
    space = bundle.contract.labels
    student = Student.open(path, vocabulary=vocabulary, labels=len(space))
    apart = [taught for what, taught in Teacher.known.items() if "teach" not in what and "windows" not in what]
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
    parser.add_argument("--seed", type=int, nargs="+", default=[training._SEED])
    parser.add_argument("--guards", type=int, nargs="+", default=[])
    options = parser.parse_args()
    source, bundle = TrainedRun.open(options.run), Bundle.open(options.bundle)
    rows = cascade_rows(options.run, options.unlabelled, source.validation, source.checkpoint.contract.input)
    build._Teacher, weighed = Teacher, training._weighed  # type: ignore[misc]
    vocabulary = source.checkpoint.encoder().vocabulary
    for kind, seed in [(kind, seed) for kind in options.student or STUDENTS for seed in options.seed]:
        made = without_windows if kind in ("rows", "neither") else train_student
        build.train_student = made  # type: ignore[attr-defined]  # a stand-in
        training._weighed = even if kind in ("even", "neither") else weighed
        training._SEED = seed
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
            print(kind, seed, *cascade_lines(build.build_cascade(job)), sep="\n", flush=True)
            by_guards(bundle, Path(folder) / STUDENT_FILE, vocabulary, options.guards)


if __name__ == "__main__":
    main()
