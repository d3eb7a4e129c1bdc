"""SetFit: the encoder is tuned on pairs of rows with the same or other labels, then gets a logistic regression.

Its default takes every pair there is, more than half a million of a thousand rows: hours on two cores. So each row is
in one pair of either kind (`num_iterations=1`, 2,000 pairs), and the table says so.
"""

import tempfile
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.learn import Classify, Labels, Texts, learn
from benchmarks.peers.talk import Request

NEEDS = ("setfit==1.2.0", "sentence-transformers==5.6.1")
VARIANTS = (Variant(name="SetFit, MiniLM, 2 pairs a row"),)


def load(settings: Request) -> Any:
    """What tunes a fresh copy of the encoder."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    def fit(texts: Texts, labels: Labels) -> Classify:
        strategy = {"multi_target_strategy": "one-vs-rest"} if settings["multi"] else {}
        model = SetFitModel.from_pretrained(settings["encoder"], local_files_only=True, device="cpu", **strategy)
        model.model_body.max_seq_length = settings["max_tokens"]
        with tempfile.TemporaryDirectory() as folder:
            given = TrainingArguments(
                output_dir=folder, num_iterations=1, report_to="none", save_strategy="no", show_progress_bar=False
            )
            rows = Dataset.from_dict({"text": texts, "label": labels})
            Trainer(model=model, args=given, train_dataset=rows).train()
        return lambda asked: model.predict(asked, show_progress_bar=False)

    return fit


if __name__ == "__main__":
    learn(load, ("setfit", "sentence-transformers", "transformers", "torch"))
