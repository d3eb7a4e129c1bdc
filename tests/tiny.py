"""Tiny models with random weights, made in a second, for tests: nothing is downloaded."""

import functools
import inspect
import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from tests.words import PIECES
from trainer.contract.checkpoint import Checkpoint, Contract
from trainer.contract.encoding import EncodingPolicy
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace

_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
}


@functools.cache
def _tokenizer_json() -> str:
    """A WordPiece tokenizer with BERT's special tokens; characters it never saw become [UNK]."""
    special = PIECES[:5]
    ids = {piece: number for number, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return tokenizer.to_str()


def tokenizer(max_tokens: int = 512) -> PreTrainedTokenizerFast:
    """The tiny tokenizer in transformers' wrapper."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_tokenizer_json()),
        model_max_length=max_tokens,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def config(model_type: str = "bert", **changes: Any) -> Any:
    """A tiny configuration of a model family."""
    words, kind = tokenizer(), CONFIG_MAPPING[model_type]
    # A key that the family does not know would be kept in config.json, and refused when that is opened.
    known = {name for line in kind.__mro__ for name in inspect.signature(line).parameters} | {*kind.attribute_map}
    sizes = {name: size for name, size in _SIZES.items() if name in known}
    return AutoConfig.for_model(model_type, **{**sizes, "vocab_size": len(words), "pad_token_id": 0, **changes})


def encoder(folder: Path, model_type: str = "bert", seed: int = 0, **changes: Any) -> Path:
    """A base model's folder, as `model.name` takes it: weights without a head, config and tokenizer."""
    torch.manual_seed(seed)
    AutoModel.from_config(config(model_type, **changes)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def checkpoint(
    folder: Path, contract: Contract | None = None, model_type: str = "bert", *, spread: float = 20.0, **changes: Any
) -> Checkpoint:
    """A classifier's checkpoint folder with random weights, as training leaves it.

    spread scales the head's weights, so that the random logits of different texts differ enough to have decisions.
    """
    contract = contract or Contract(
        labels=LabelSpace(names=("ham", "spam")),
        input=InputSpec(text=("text",)),
        encoding=EncodingPolicy(max_tokens=64),
    )
    names = contract.labels.names
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(
        config(
            model_type,
            id2label=dict(enumerate(names)),
            label2id={name: number for number, name in enumerate(names)},
            problem_type="multi_label_classification"
            if contract.labels.kind == "multi"
            else "single_label_classification",
            **changes,
        )
    )
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "classifier" in name and weights.ndim == 2:
                weights.mul_(spread)
    model.save_pretrained(folder, safe_serialization=True)
    words = tokenizer(contract.encoding.max_tokens)
    words.backend_tokenizer.enable_truncation(contract.encoding.max_tokens)
    words.save_pretrained(folder)
    # As training does where transformers 5 no longer writes it.
    (folder / "special_tokens_map.json").write_text(json.dumps(words.special_tokens_map), encoding="utf-8")
    made = Checkpoint(path=folder, contract=contract, stage=0, epoch=1.0, step=10, metric="f1", value=0.5)
    made.save()
    return made
