"""What several contestants share: the encoder with a new head, in transformers' own words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.device import device
from benchmarks.peers.learn import Classify, Labels, Texts
from benchmarks.peers.talk import Request


def network(settings: Request) -> tuple[Any, Any]:
    """Tokenizer, and classifier with a new head of one seed."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    set_seed(0)
    kind = "multi_label_classification" if settings["multi"] else "single_label_classification"
    model = AutoModelForSequenceClassification.from_pretrained(
        settings["encoder"], num_labels=len(settings["labels"]), problem_type=kind
    )
    return AutoTokenizer.from_pretrained(settings["encoder"]), model


def arguments(settings: Request) -> dict[str, Any]:
    """What every contestant with transformers' TrainingArguments says: one pass over a round's rows at one rate, and
    nothing kept or shown.
    """
    return {
        "output_dir": str(Path(settings["train"]).parent / "output"),
        "per_device_train_batch_size": settings["batch"],
        "num_train_epochs": 1,
        "learning_rate": settings["rate"],
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": device(settings) == "cpu",
        "bf16": bool(settings.get("bf16")),
    }


def tokenized(tokenizer: Any, texts: Texts, most: int, *, pad: bool) -> dict[str, Any]:
    """Token ids, cut at the limit; pad: to the limit too."""
    found: dict[str, Any] = dict(
        tokenizer(texts, truncation=True, max_length=most, padding="max_length" if pad else False)
    )
    return found


def classify_with(model: Any, tokenizer: Any, settings: Request) -> Classify:
    """Labels of texts in fp32, in batches of 32; not a part of what is timed."""
    import torch

    @torch.no_grad()
    def classify(texts: Texts) -> Sequence[Any]:
        model.eval()
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found: Labels = [None] * len(texts)
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            batch = tokenizer(
                [texts[row] for row in rows],
                truncation=True,
                max_length=settings["max_tokens"],
                padding=True,
                return_tensors="pt",
            )
            logits = model(**batch.to(model.device)).logits.float()
            decided = (logits > 0).long() if settings["multi"] else logits.argmax(dim=1)
            for row, label in zip(rows, decided.tolist(), strict=True):
                found[row] = label
        return found

    return classify
