"""Text to token ids, cut to a limit, padded to arrays: the same functions in training, export and scoring.

Shapes: N rows, B rows of a batch, T tokens of its longest row.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.pieces import Pieces, ragged

Ints = NDArray[np.int64]
# Any text will do that gives at least one token. A vocabulary may know only one of these scripts.
PROBE = "a 1 я 的 م"


@dataclass(frozen=True, kw_only=True)
class EncodingPolicy:
    """How texts become token ids, beyond what `tokenizer.json` holds."""

    max_tokens: int
    """The most tokens of a row, special tokens included."""
    truncation: Literal["head", "tail", "head_tail"] = "head"
    """Which tokens stay of a longer text: "head" the first, "tail" the last, "head_tail" the first `head_tokens` and
    the last of the rest (Sun et al. 2019, arXiv 1905.05583, keep 128 + 382 of 512). Of a pair the longer text is cut
    first, down to the other's length (transformers' "longest_first"), each by this policy.
    """
    head_tokens: int | None = None
    """How many first tokens "head_tail" keeps; a quarter of the room if None. A text that gets less room than this
    keeps its head alone.
    """
    pad_id: int = 0
    """The token that pads a row on the right."""
    pad_type_id: int = 0
    """The token type of that padding."""

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens: expected at least 1, found {self.max_tokens}")
        if self.head_tokens is not None and self.truncation != "head_tail":
            raise ValueError(f"head_tokens: only for truncation: head_tail, found {self.truncation}")
        if self.head_tokens is not None and not 0 < self.head_tokens < self.max_tokens:
            raise ValueError(f"head_tokens: expected 1 to {self.max_tokens - 1}, found {self.head_tokens}")

    def head(self, room: Ints) -> Ints:
        """How many of the `room` tokens that a cut text keeps come from its start."""
        if self.truncation == "head":
            return room
        if self.truncation == "tail":
            return np.zeros_like(room)
        return np.minimum(room, self.head_tokens if self.head_tokens is not None else room // 4)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded rows as a model takes them: int64 [B, T] each."""

    ids: Ints
    """Numbers of tokens in the vocabulary."""
    mask: Ints
    """1 on tokens, 0 on padding."""
    types: Ints
    """0 on the first text, 1 on the second one of a pair."""

    def named(self) -> dict[str, Ints]:
        """The arrays under the names that transformers' models and their ONNX graphs use."""
        return {"input_ids": self.ids, "attention_mask": self.mask, "token_type_ids": self.types}


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Token ids of N rows, ragged: row r is `ids[offsets[r]:offsets[r + 1]]`.

    `cut[r]` counts the tokens that truncation dropped.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int8]
    offsets: Ints
    cut: Ints

    def __len__(self) -> int:
        return len(self.cut)

    @cached_property
    def lengths(self) -> Ints:
        """Tokens of each row, special tokens included, [N]."""
        return np.diff(self.offsets)

    def truncation(self) -> dict[str, int]:
        """How much was cut: rows, rows cut, tokens kept, tokens cut."""
        return {
            "rows": len(self),
            "rows_cut": int((self.cut > 0).sum()),
            "tokens": len(self.ids),
            "tokens_cut": int(self.cut.sum()),
        }

    def with_rows(self, rows: Ints, other: "Encoded") -> "Encoded":
        """With the rows of those numbers taken from `other`, in order."""
        starts, lengths, cut = self.offsets[:-1].copy(), self.lengths, self.cut.copy()
        # Rows stay where they are in the flat arrays; only where each begins and ends changes.
        starts[rows], lengths[rows], cut[rows] = other.offsets[:-1] + len(self.ids), other.lengths, other.cut
        places = ragged(starts, lengths)
        return Encoded(
            ids=np.concatenate([self.ids, other.ids])[places],
            types=np.concatenate([self.types, other.types])[places],
            offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)]),
            cut=cut,
        )


@dataclass(frozen=True)
class _Part:
    """One step of the special-token template: a constant token (body None), or the first (0) or second (1) text."""

    body: int | None
    id: int
    type: int


class TextEncoder:
    """A `tokenizer.json` with its policy. Stateless after construction and safe to use from several threads.

    Truncation and the special tokens' places are ours and vectorised, so head, tail and head_tail are one code path. A
    special token spelled out in a text ("[SEP]") is read as the characters it is made of: a flag of the tokenizer that
    its file does not hold.
    """

    def __init__(self, tokenizer: Tokenizer, policy: EncodingPolicy) -> None:
        # A file may come with truncation and padding switched on, which would cut before we count.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self.policy = policy
        # Read once: a vocabulary takes a moment, and a scorer's first row waits for it.
        content = json.loads(tokenizer.to_str())
        self.unknown_id = _unknown_id(tokenizer, content["model"])
        self.steps: dict[str, Any] = {name: content.get(name) for name in ("normalizer", "pre_tokenizer")}
        """What the tokenizer does to a text before its model reads it, as in `tokenizer.json`."""
        self._tokenizer = tokenizer
        self._pieces = Pieces(tokenizer, content)
        self._single = _template(tokenizer.encode(PROBE))
        self._pair = _template(tokenizer.encode(PROBE, PROBE))
        # Asked now: a policy without room for a text would otherwise fail at the first row.
        self._room(self._single)

    @classmethod
    def open(cls, path: Path, policy: EncodingPolicy) -> "TextEncoder":
        """Read a `tokenizer.json`. Raises ArtifactError where it is missing or cannot be read."""
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ArtifactError(
                "tokenizer.json is missing", where=path.parent, do="use a model that has a fast tokenizer"
            ) from None
        # The library raises a bare Exception for a file it cannot parse.
        except Exception as error:
            raise ArtifactError(
                "tokenizer.json cannot be read",
                where=path,
                found=str(error)[:200],
                do="restore the file from its source",
            ) from error
        return cls(tokenizer, policy)

    def signature(self) -> str:
        """What the token ids of a text depend on, as text: the tokenizer and the policy."""
        return f"{self._tokenizer.to_str()}\n{self.policy}"

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The special tokens that stand around the texts of a row."""
        return frozenset(part.id for part in (*self._single, *self._pair) if part.body is None)

    @cached_property
    def vocabulary(self) -> int:
        """One more than the largest token id that a text may become."""
        return 1 + max(map(int, self._tokenizer.get_vocab().values()))

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Encoded:
        """Texts (and the second texts of pairs) to token ids with special tokens, cut by the policy.

        Raises InputError where max_tokens leaves a pair no room for a token of each text.
        """
        given = [texts] if pairs is None else [texts, pairs]
        bodies = [self._pieces.read(each) for each in given]
        template = self._single if pairs is None else self._pair
        kept = _share(self._room(template), [body.lengths for body in bodies])
        lengths = np.full(len(texts), sum(part.body is None for part in template), dtype=np.int64) + sum(kept)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        ids, types = np.empty(offsets[-1], dtype=np.int32), np.empty(offsets[-1], dtype=np.int8)
        # Every row gets the template's parts from left to right; the cursors say how far each row is.
        cursor = offsets[:-1].copy()
        for part in template:
            if part.body is None:
                ids[cursor], types[cursor] = part.id, part.type
                cursor += 1
            else:
                body, keep = bodies[part.body], kept[part.body]
                places = ragged(cursor, keep)
                ids[places], types[places] = body.ids[body.places(keep, self.policy.head(keep))], part.type
                cursor += keep
        cut = np.asarray(sum(body.lengths - keep for body, keep in zip(bodies, kept, strict=True)), dtype=np.int64)
        return Encoded(ids=ids, types=types, offsets=offsets, cut=cut)

    def _room(self, template: tuple[_Part, ...]) -> int:
        """How many tokens of text fit beside the special tokens: at least one a text."""
        texts = {part.body for part in template if part.body is not None}
        special = sum(part.body is None for part in template)
        if self.policy.max_tokens < special + len(texts):
            raise InputError(
                "max_tokens leaves no room for text",
                found=self.policy.max_tokens,
                expected=f"at least {special + len(texts)}: {special} special tokens and one of each text",
                do="raise input.max_tokens",
            )
        return self.policy.max_tokens - special

    def pad(self, encoded: Encoded, rows: Ints) -> Batch:
        """The given rows as arrays [B, T], padded on the right to the longest of them. No rows: arrays [0, 0]."""
        starts, lengths = encoded.offsets[rows], encoded.lengths[rows]
        width = int(lengths.max(initial=0))
        # On the right for every family: positions then begin at the row's start, as they did when it was trained.
        mask = np.arange(width) < lengths[:, None]
        ids = np.full(mask.shape, self.policy.pad_id, dtype=np.int64)
        types = np.full(mask.shape, self.policy.pad_type_id, dtype=np.int64)
        places = ragged(starts, lengths)
        ids[mask], types[mask] = encoded.ids[places], encoded.types[places]
        return Batch(ids=ids, mask=mask.astype(np.int64), types=types)


def budget_batches(lengths: Ints, order: Ints, tokens: int) -> list[Ints]:
    """Cut the rows of `order` into batches whose padded size (rows x longest row) is at most `tokens`; a longer row
    stands alone.

    Meant for rows sorted by length, where padding is least; correct for any order.
    """
    batches: list[Ints] = []
    start, longest = 0, 0
    for place, row in enumerate(order.tolist()):
        longest = max(longest, int(lengths[row]))
        if place > start and longest * (place - start + 1) > tokens:
            batches.append(order[start:place])
            start, longest = place, int(lengths[row])
    if start < len(order):
        batches.append(order[start:])
    return batches


def _share(room: int, lengths: list[Ints]) -> list[Ints]:
    """How many tokens each text keeps of `room`: the longer text of a pair gives way first.

    Where both are cut, the odd token is the longer text's, or the second's of two that are equal, as in `tokenizers`.
    """
    if len(lengths) == 1:
        return [np.minimum(lengths[0], room)]
    first, second = lengths
    # A text shorter than its half leaves the rest of it to the other.
    half = (room + (second >= first)) // 2
    keep_second = np.minimum(second, np.maximum(half, room - first))
    return [np.minimum(first, room - keep_second), keep_second]


def _template(probe: Encoding) -> tuple[_Part, ...]:
    """Read the special tokens' places off the encoding of a known text: whatever the tokenizer adds is a constant of
    the model. Raises ArtifactError for a tokenizer that reads nothing in any script.
    """
    if 0 not in probe.sequence_ids:
        raise ArtifactError(
            "the tokenizer finds no token in plain text", found=repr(PROBE), do="use the tokenizer of the model"
        )
    parts: list[_Part] = []
    for token, kind, body in zip(probe.ids, probe.type_ids, probe.sequence_ids, strict=True):
        if body is None or not parts or parts[-1].body != body:
            parts.append(_Part(body, token, kind))
    return tuple(parts)


def _unknown_id(tokenizer: Tokenizer, model: dict[str, Any]) -> int | None:
    """The id of the unknown token, for figures on unknown words; None where the tokenizer has none (byte level)."""
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    return tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else None
