"""Golden rows that no person wrote: words of the tokenizer's vocabulary, as near to a decision as a search finds.

A bundle's golden rows are texts, and token ids are no protection, since they turn back into text. What a machine is
tested with need only be read alike everywhere and lie near decisions, where a small difference shows.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from export.proof.golden import GoldenRows, decisions_and_margins
from export.proof.torch_logits import reference_logits
from export.trained_run import Sample
from export.unlabelled import UnlabelledRows
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.encoding import TextEncoder
from trainer.contract.labels import LabelSpace
from trainer.contract.system.progress import Progress

Logits = NDArray[np.float32]
# Texts of the first round and of each later one, and how many of those there are.
FIRST, EACH, ROUNDS = 192, 128, 6
# Words of the longest text, and words that are drawn from.
_LONGEST, _WORDS = 48, 4000
# What is changed in a round: for each label the nearest texts on both sides.
_PARENTS = 2


def synthetic_golden(network: object, checkpoint: Checkpoint, progress: Progress) -> GoldenRows:
    """Golden rows for a checkpoint, whose network is given. The same checkpoint gives the same rows."""
    space, encoder = checkpoint.contract.labels, checkpoint.encoder()
    paired = checkpoint.contract.input.pair is not None
    words = vocabulary(checkpoint.path / "tokenizer.json")
    with progress.step("golden rows of made-up words", FIRST + ROUNDS * EACH) as tick:

        def logits(rows: UnlabelledRows) -> Logits:
            """torch's, float32 [N, C]."""
            return reference_logits(network, Sample.of(rows, encoder, at_most=len(rows)), tick)

        rows, found = search(words, space, logits, longest=_room(encoder), paired=paired)
    return GoldenRows.of(Sample.of(rows, encoder, at_most=len(rows)), found, space)


def search(
    words: list[str], space: LabelSpace, logits: Callable[[UnlabelledRows], Logits], *, longest: int, paired: bool
) -> tuple[UnlabelledRows, Logits]:
    """Texts of random words, and in each round the ones nearest to a decision with a few words changed.

    Returns all of them with their logits [N, C]. longest: words of a text.
    """
    generator = np.random.default_rng(0)
    lengths = np.linspace(1, longest, FIRST).round().astype(int).tolist()
    texts = [_drawn(words, length, generator) for length in lengths]
    found = logits(_rows(texts, paired))
    for _ in range(ROUNDS):
        parents = _nearest(found, space)
        made = [_changed(texts[parents[number % len(parents)]], words, generator) for number in range(EACH)]
        texts, found = texts + made, np.concatenate([found, logits(_rows(made, paired))])
    return _rows(texts, paired), found


def vocabulary(path: Path) -> list[str]:
    """Words of a tokenizer.json that a person could read: letters alone, special tokens left out; in a fixed order."""
    tokenizer = Tokenizer.from_file(str(path))
    ids = np.random.default_rng(0).permutation(tokenizer.get_vocab_size())
    found: dict[str, None] = {}
    for number in ids.tolist():
        word = tokenizer.decode([number], skip_special_tokens=True).strip().lstrip("#")
        if len(word) > 1 and word.isalpha():
            found[word] = None
        if len(found) == _WORDS:
            break
    # Of a tokenizer of bytes or characters: what it has.
    return list(found) or ["a", "b", "c"]


def _room(encoder: TextEncoder) -> int:
    """Words of the longest text: some texts are cut where the limit is low, as some rows are."""
    return max(2, min(_LONGEST, encoder.policy.max_tokens))


def _rows(texts: list[list[str]], paired: bool) -> UnlabelledRows:
    """Of a pair, the first half of the words is the first text."""
    if not paired:
        return UnlabelledRows(texts=[" ".join(words) for words in texts], pairs=None)
    halves = [(words[: len(words) // 2 + 1], words[len(words) // 2 + 1 :] or words) for words in texts]
    return UnlabelledRows(texts=[" ".join(left) for left, _ in halves], pairs=[" ".join(right) for _, right in halves])


def _drawn(words: list[str], length: int, generator: np.random.Generator) -> list[str]:
    return [words[number] for number in generator.integers(len(words), size=length)]


def _nearest(logits: Logits, space: LabelSpace) -> list[int]:
    """The texts nearest to each label's decision, on both sides of it."""
    given, distance = decisions_and_margins(space.decode(logits), space)
    rows = {
        int(row)
        for label in range(len(space))
        for side in (np.flatnonzero(given[:, label]), np.flatnonzero(~given[:, label]))
        for row in side[np.argsort(distance[side, label], kind="stable")][:_PARENTS]
    }
    return sorted(rows)


def _changed(words: list[str], known: list[str], generator: np.random.Generator) -> list[str]:
    """A text with one word replaced, added or left out."""
    place, how = int(generator.integers(len(words))), int(generator.integers(3))
    if how == 0 and len(words) > 1:
        return words[:place] + words[place + 1 :]
    return words[:place] + _drawn(known, 1, generator) + words[place + (how == 1) :]
