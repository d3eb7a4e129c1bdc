"""A window of texts to batches: repeats once, sorted by length, cut by a padded-token budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.cascade.certificate import Bools
from serve.scoring.cascade import Answers, OpenCascade
from serve.scoring.long_text import MARGIN, Prefix
from trainer.contract.encoding import Encoded, Ints, TextEncoder, budget_batches


@dataclass(frozen=True, kw_only=True)
class Plan:
    """N rows of a window as batches over its U different texts.

    A pure function of the texts: dynamic int8 scores depend on which rows share a batch, and must not depend on time.
    """

    encoded: Encoded
    """The U texts."""
    batches: list[Ints]
    """Rows of `encoded`, each batch within the budget; longest rows first, so that the work that ends a window is
    small."""
    source: Ints
    """[N]; `source[n]` is the text of row n."""

    estimated: Ints
    """Tokens of `encoded.cut` that were not counted but estimated, by the length of what was not tokenized, [U]."""
    answers: Answers | None = None
    """What the student says of the U texts; None where there is none."""
    audited: Bools | None = None
    """Rows that go through both tiers and take the encoder's answer, [N]; None for no row."""

    @property
    def by_student(self) -> Bools:
        """Rows that the student answers, [N]."""
        if self.answers is None:
            return np.zeros(len(self.source), dtype=np.bool_)
        taken = self.answers.taken[self.source]
        return taken if self.audited is None else taken & ~self.audited

    @property
    def tokens(self) -> int:
        """Tokens that the model is given, of the U texts that it scores."""
        return sum(int(self.encoded.lengths[batch].sum()) for batch in self.batches)

    @property
    def rows_cut(self) -> int:
        """Rows of the window that are longer than the model reads; repeats count each."""
        return int(np.count_nonzero(self.encoded.cut[self.source]))

    @property
    def tokens_cut(self) -> int:
        """Tokens that the window's rows lose to that."""
        return int(self.encoded.cut[self.source].sum())

    @property
    def tokens_cut_estimated(self) -> int:
        """How many of `tokens_cut` are an estimate."""
        return int(self.estimated[self.source].sum())

    @property
    def padded_tokens(self) -> int:
        """Tokens that the model computes, padding included."""
        lengths = self.encoded.lengths
        return sum(len(batch) * int(lengths[batch].max()) for batch in self.batches)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a bundle's texts become tokens."""

    encoder: TextEncoder
    prefix: Prefix
    """Spares long texts' ends, where they cannot matter."""

    def encode(self, texts: list[str], pairs: list[str] | None) -> tuple[Encoded, Ints]:
        """As `TextEncoder.encode`, and how many of each row's cut tokens are estimated, [U]."""
        # Which text of a pair is cut depends on the length of both.
        starts = [self.prefix.of(text) for text in texts] if pairs is None else texts
        encoded = self.encoder.encode(starts, pairs)
        spared = np.array([len(text) - len(start) for text, start in zip(texts, starts, strict=True)], dtype=np.int64)
        short = np.flatnonzero((spared > 0) & (encoded.cut < MARGIN))
        if len(short):
            encoded = encoded.with_rows(short, self.encoder.encode([texts[row] for row in short.tolist()]))
            spared[short] = 0
        # A start has so many tokens a character; the rest of the text is taken to be like it.
        chars = np.array([max(1, len(start)) for start in starts], dtype=np.int64)
        estimated = spared * (encoded.lengths + encoded.cut) // chars
        return replace(encoded, cut=encoded.cut + estimated), estimated


@dataclass(frozen=True, kw_only=True)
class WindowCascade:
    """The cascade of one window of N rows."""

    opened: OpenCascade
    audited: Bools | None = None
    """Rows that go through both tiers, [N]; None for no row."""


def plan(
    encoding: Encoding,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    tokens: int,
    cascade: WindowCascade | None = None,
) -> Plan:
    """Encode a window and cut it into batches of at most `tokens` padded tokens (a longer row stands alone).

    cascade: its student spares texts the encoder; None: the encoder scores all.
    """
    keys: Sequence[object] = texts if pairs is None else list(zip(texts, pairs, strict=True))
    # A dict keeps the order of first appearance, so `first` is ordered as the ids that it hands out.
    ids: dict[object, int] = {}
    source = np.fromiter((ids.setdefault(key, len(ids)) for key in keys), dtype=np.int64, count=len(keys))
    _, first = np.unique(source, return_index=True)
    encoded, estimated = encoding.encode(
        [texts[row] for row in first.tolist()], None if pairs is None else [pairs[row] for row in first.tolist()]
    )
    made = Plan(encoded=encoded, batches=[], source=source, estimated=estimated)
    wanted = np.ones(len(encoded), dtype=np.bool_)
    if cascade is not None:
        made = replace(made, answers=cascade.opened.answer(encoded), audited=cascade.audited)
        # A text that one row of it is audited with, or that the student leaves, is scored once.
        wanted = np.bincount(source[~made.by_student], minlength=len(encoded)) > 0
    order = np.argsort(-encoded.lengths, kind="stable")
    return replace(made, batches=budget_batches(encoded.lengths, order[wanted[order]], tokens))
