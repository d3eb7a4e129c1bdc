"""The cascade of a bundle: its student answers rows without the encoder, and some rows of a job audit that.

Student and rule are functions of a row, and its place alone says whether it is audited. So kills, shards and the
machines of a cluster change nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.cascade.certificate import VERSION, Bools, Target, answers, differing, sides
from export.cascade.student import Floats, Student
from serve.scoring.settings import ScorerOptions
from trainer.contract.encoding import Encoded, TextEncoder
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.labels import LabelSpace

# The largest share of a job's rows that is audited unasked.
MOST_AUDITED = 0.02
# Constants of SplitMix64 (Steele et al. 2014), a hash of 64 bits.
_GOLDEN, _MIX, _MIX_MORE = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the student says of U texts."""

    logits: Floats
    """[U, C]"""
    taken: Bools
    """[U], texts that need no encoder."""


@dataclass(frozen=True, kw_only=True)
class OpenCascade:
    """A bundle's student, open, at one of its proven agreements; rows that it does not take are the encoder's."""

    student: Student
    target: Target
    space: LabelSpace

    @classmethod
    def wanted(
        cls, bundle: Bundle, options: ScorerOptions, encoder: TextEncoder, precision: str
    ) -> "OpenCascade | None":
        """The cascade that the options ask for, if they do; see `open`. An agreement of 1 is that of the encoder alone.

        Raises InputError for an agreement that is no share, and beside what the student was not proven with.
        """
        agreement = options.agreement
        if agreement is None or agreement == 1:
            return None
        # Written so that NaN is refused too.
        if not isinstance(agreement, int | float) or not 0.5 <= agreement <= 1:
            raise InputError(
                "the agreement is no share of rows", found=agreement, expected="0.5 to 1", do="give 0.995, say"
            )
        if bundle.contract.labels.abstain is not None and not options.abstain:
            raise InputError(
                "the student was proven with the rows that the bundle leaves unanswered",
                found="all rows are to be answered",
                do="leave out --agreement, or --no-abstain (in Python abstain=False)",
            )
        if options.thresholds:
            raise InputError(
                "the student was proven with the bundle's own thresholds",
                found=", ".join(f"{name}={value:g}" for name, value in options.thresholds.items()),
                do="leave out --agreement or --threshold, or export with these thresholds",
            )
        return cls.open(bundle, encoder, agreement, precision)

    @classmethod
    def open(cls, bundle: Bundle, encoder: TextEncoder, agreement: float, precision: str) -> "OpenCascade":
        """Open the student. precision: the file that scores the other rows.

        Raises InputError where the bundle has no student, none for this agreement, or one of another precision, and
        ArtifactError where its file is damaged or of another version.
        """
        cascade = bundle.manifest.cascade
        if cascade is None:
            raise InputError(
                "the bundle has no student", where=bundle.path, do="export with --cascade, or leave out --agreement"
            )
        if cascade.version != VERSION:
            raise ArtifactError(
                "the student is of another version",
                where=bundle.path,
                found=cascade.version,
                expected=VERSION,
                do="export again, or leave out --agreement",
            )
        if cascade.precision != precision:
            raise InputError(
                f"the student was proven against the {cascade.precision} file",
                where=bundle.path,
                found=precision,
                do=f"--precision {cascade.precision} --device cpu, or leave out --agreement",
            )
        target, space = cascade.target(agreement, bundle.path), bundle.contract.labels
        if [(each.label, each.answer) for each in target.classes] != answers(space):
            raise ArtifactError(
                "the certificate is not one of the bundle's labels",
                where=bundle.path,
                found=", ".join(each.label for each in target.classes),
                expected=", ".join(space.names),
                do="export again, or leave out --agreement",
            )
        student = Student.open(bundle.path / cascade.file, vocabulary=encoder.vocabulary, labels=len(space))
        return cls(student=student, target=target, space=space)

    def answer(self, encoded: Encoded) -> Answers:
        """The student's logits of U texts, and which of them it may answer."""
        logits = self.student.logits(encoded)
        return Answers(logits=logits, taken=self.target.takes(self.space.decode(logits), self.space))

    def compare(self, student: Floats, encoder: Floats, taken: Bools) -> dict[str, list[int]]:
        """What audited rows show: rows and mistakes, of all and of each answer of the encoder, and how many the student
        would have answered. Logits are [N, C].
        """
        theirs, ours = self.space.decode(encoder), self.space.decode(student)
        given, said = sides(theirs, self.space)[0], sides(ours, self.space)[0]
        found = {"all": [len(taken), int((taken & differing(ours, theirs)).sum())], "audited": [int(taken.sum())]}
        for side in range(given.shape[1]):
            rows = given[:, side]
            found[str(side)] = [int(rows.sum()), int((rows & taken & ~said[:, side]).sum())]
        return found


@dataclass(frozen=True, kw_only=True)
class Auditing:
    """Which rows of a job go through both tiers."""

    share: float
    """Of all rows, 0 to 1."""
    key: int
    """64 bits of the hash: another bundle audits other rows."""

    def rows(self, number: int, places: NDArray[np.int64]) -> Bools:
        """Which of the rows at these places of input `number` are audited, bool [N]."""
        with np.errstate(over="ignore"):
            mixed = places.astype(np.uint64) * _GOLDEN + np.uint64(self.key) + np.uint64(number + 1) * _MIX_MORE
            mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX
            mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_MORE
            mixed ^= mixed >> np.uint64(31)
        return np.asarray(mixed <= np.uint64(min(int(self.share * 2**64), 2**64 - 1)))
