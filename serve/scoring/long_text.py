"""The start of a long text that truncation to its first tokens can see: the rest need not be tokenized."""

import re
from collections.abc import Mapping
from typing import Any

from trainer.contract.encoding import TextEncoder

# Characters of a text that are tokenized for each token that may be kept: twice what European words take.
_CHARS = 10
# Tokens beyond the kept ones that a prefix must have: what the end of the prefix does to its last words stays there.
MARGIN = 16
# Steps that look no further than the word they are in, so that words after the prefix cannot change those before.
_SPLITS = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit", "ByteLevel", "Metaspace"})
_SPACE = re.compile("[ \n\t]")
_LOCAL = frozenset(
    {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Strip", "Precompiled"}
)


class Prefix:
    """Cuts texts before they are tokenized, where that is known to change nothing; `MARGIN` tells where it did not."""

    def __init__(self, encoder: TextEncoder) -> None:
        policy = encoder.policy
        normalizers = _steps(encoder.steps["normalizer"], "normalizers")
        splits = _steps(encoder.steps["pre_tokenizer"], "pretokenizers")
        local = all(step["type"] in _LOCAL for step in normalizers)
        # A ByteLevel or Metaspace step that does not split leaves the whole text to the model.
        words = any(
            step["type"] in _SPLITS and step.get("use_regex", True) and step.get("split", True) for step in splits
        )
        self.chars = policy.max_tokens * _CHARS if local and words and policy.truncation == "head" else None

    def of(self, text: str) -> str:
        """The text up to the first white space after so many characters, or all of it."""
        if self.chars is None or len(text) <= self.chars:
            return text
        space = _SPACE.search(text, self.chars)
        return text[: space.start()] if space else text


def _steps(step: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    """A step of a tokenizer, or the steps of a sequence."""
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [inner for part in step[key] for inner in _steps(part, key)]
    return [step]
