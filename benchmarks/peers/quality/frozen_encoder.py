"""The encoder as it is, through sentence-transformers, and logistic regression on its embeddings."""

from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.learn import Classify, Labels, Texts, learn
from benchmarks.peers.talk import Request

NEEDS = ("sentence-transformers==5.6.1",)
VARIANTS = (Variant(name="frozen MiniLM + logistic regression"),)


def load(settings: Request) -> Any:
    """The encoder, and what fits a head."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    encoder = SentenceTransformer(settings["encoder"], device="cpu", local_files_only=True)
    encoder.max_seq_length = settings["max_tokens"]

    def fit(texts: Texts, labels: Labels) -> Classify:
        regression = LogisticRegression(max_iter=1000)
        head = OneVsRestClassifier(regression) if settings["multi"] else regression
        head.fit(encoder.encode(texts, show_progress_bar=False), labels)
        return lambda asked: head.predict(encoder.encode(asked, show_progress_bar=False))

    return fit


if __name__ == "__main__":
    learn(load, ("sentence-transformers", "transformers", "torch"))
