"""A window of texts to batches: repeats once, sorted by length, cut by a padded-token budget."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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

    @property
    def padded_tokens(self) -> int:
        """Tokens that the model computes, padding included."""
        lengths = self.encoded.lengths
        return sum(len(batch) * int(lengths[batch].max()) for batch in self.batches)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a bundle's texts become tokens. prefix: spares long texts' ends, where they cannot matter."""

    encoder: TextEncoder
    prefix: Prefix

    def encode(self, texts: list[str], pairs: list[str] | None) -> Encoded:
        """As `TextEncoder.encode`, but `cut` counts only what was tokenized."""
        # Which text of a pair is cut depends on the length of both.
        starts = [self.prefix.of(text) for text in texts] if pairs is None else texts
        encoded = self.encoder.encode(starts, pairs)
        short = [
            row
            for row, (start, text) in enumerate(zip(starts, texts, strict=True))
            if len(start) < len(text) and encoded.cut[row] < MARGIN
        ]
        if not short:
            return encoded
        for row in short:
            starts[row] = texts[row]
        return self.encoder.encode(starts, pairs)


def plan(encoding: Encoding, texts: Sequence[str], pairs: Sequence[str] | None, tokens: int) -> Plan:
    """Encode a window and cut it into batches of at most `tokens` padded tokens (a longer row stands alone)."""
    keys: Sequence[object] = texts if pairs is None else list(zip(texts, pairs, strict=True))
    # A dict keeps the order of first appearance, so `first` is ordered as the ids that it hands out.
    ids: dict[object, int] = {}
    source = np.fromiter((ids.setdefault(key, len(ids)) for key in keys), dtype=np.int64, count=len(keys))
    _, first = np.unique(source, return_index=True)
    encoded = encoding.encode(
        [texts[row] for row in first.tolist()], None if pairs is None else [pairs[row] for row in first.tolist()]
    )
    lengths = encoded.lengths
    order = np.argsort(-lengths, kind="stable")
    return Plan(encoded=encoded, batches=budget_batches(lengths, order, tokens), source=source)
