"""SetFit: each row in one pair of either kind (four texts run for it), and a head fitted to all rows so far."""

from pathlib import Path
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.learn import Classify, Labels, Texts, go_on
from benchmarks.peers.talk import Request

NEEDS = ("setfit==1.2.0", "sentence-transformers==5.6.1")
VARIANTS = (Variant(name="SetFit, 2 pairs a row", precision="fp32"),)


def load(settings: Request) -> tuple[Any, Classify]:
    """A trainer for each round on one model."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    strategy = {"multi_target_strategy": "one-vs-rest"} if settings["multi"] else {}
    model = SetFitModel.from_pretrained(settings["encoder"], local_files_only=True, device="cpu", **strategy)
    model.model_body.max_seq_length = settings["max_tokens"]
    given = TrainingArguments(
        output_dir=str(Path(settings["train"]).parent / "output"),
        num_iterations=1,
        report_to="none",
        save_strategy="no",
        show_progress_bar=False,
    )

    def train(texts: Texts, labels: Labels) -> None:
        rows = Dataset.from_dict({"text": texts, "label": labels})
        Trainer(model=model, args=given, train_dataset=rows).train()

    return train, lambda texts: model.predict(texts, show_progress_bar=False)


if __name__ == "__main__":
    go_on(load, ("setfit", "sentence-transformers", "transformers", "torch"))
