"""A tokenizer of each family, trained in a moment, with its special tokens' places written out by hand."""

import functools
from dataclasses import dataclass

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "win a free prize now call the number below",
    "are you coming home for dinner tonight",
    "the cat sat on the mat and the dog ran away",
    "0123456789 !?.,;:-()[]'\"",
]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A tokenizer and what it must put around one text and around two: (token, type), or ("A" or "B", type)."""

    json: str
    single: tuple[tuple[str, int], ...]
    pair: tuple[tuple[str, int], ...]

    def tokenizer(self) -> Tokenizer:
        """A fresh tokenizer, in the state that its file gives it but for special tokens spelled out in a text."""
        tokenizer = Tokenizer.from_str(self.json)
        tokenizer.encode_special_tokens = True
        return tokenizer


def _bert(tokenizer: Tokenizer) -> Family:
    special = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )
    single = (("[CLS]", 0), ("A", 0), ("[SEP]", 0))
    return Family(json=tokenizer.to_str(), single=single, pair=(*single, ("B", 1), ("[SEP]", 1)))


def _wordpiece() -> Family:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    return _bert(tokenizer)


def _roberta() -> Family:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    ends = (("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")))
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)
    single = (("<s>", 0), ("A", 0), ("</s>", 0))
    return Family(json=tokenizer.to_str(), single=single, pair=(*single, ("</s>", 0), ("B", 0), ("</s>", 0)))


def _unigram() -> Family:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], unk_token="[UNK]", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _bert(tokenizer)


def _bare() -> Family:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1, "cat": 2, "a": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return Family(json=tokenizer.to_str(), single=(("A", 0),), pair=(("A", 0), ("B", 1)))


_MAKERS = {"wordpiece": _wordpiece, "roberta": _roberta, "unigram": _unigram, "bare": _bare}
NAMES = tuple(_MAKERS)


@functools.cache
def family(name: str) -> Family:
    """One of NAMES."""
    return _MAKERS[name]()
