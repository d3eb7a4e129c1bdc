"""transformers' Trainer: as its example script calls it, and at the best settings that its documentation has."""

from typing import Any

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.learn import Classify, Labels, Texts, go_on
from benchmarks.peers.talk import Request
from benchmarks.peers.training.network import arguments, classify_with, network, tokenized

NEEDS = ()
VARIANTS = (
    Variant(name="Trainer, defaults (padded to the limit)", precision="fp32"),
    Variant(name="Trainer, best (by length, fused AdamW)", precision="fp32", settings={"best": True}, quick=True),
    Variant(
        name="Trainer, best (by length, fused AdamW, bf16)",
        precision="bf16",
        settings={"best": True, "bf16": True},
        quick=True,
    ),
    Variant(name="Trainer, defaults (padded to the limit)" + ON_GPU, precision="fp32", gpu=True),
    Variant(
        name="Trainer, best (by length, fused AdamW, bf16)" + ON_GPU,
        precision="bf16",
        gpu=True,
        settings={"best": True, "bf16": True},
    ),
)


def load(settings: Request) -> tuple[Any, Classify]:
    """A Trainer whose rows change from round to round; network and optimizer stay."""
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    tokenizer, model = network(settings)
    best = bool(settings.get("best"))
    advised: dict[str, Any] = {"group_by_length": True, "optim": "adamw_torch_fused"} if best else {}
    padding = DataCollatorWithPadding(tokenizer) if best else None
    trainer = Trainer(model=model, args=TrainingArguments(**arguments(settings), **advised), data_collator=padding)

    def train(texts: Texts, labels: Labels) -> None:
        rows = tokenized(tokenizer, texts, settings["max_tokens"], pad=not best)
        targets = [[float(one) for one in label] for label in labels] if settings["multi"] else labels
        trainer.train_dataset = Dataset.from_dict({**rows, "labels": targets})
        trainer.train()

    return train, classify_with(model, tokenizer, settings)


if __name__ == "__main__":
    go_on(load, ("transformers", "accelerate", "torch"))
