"""The one static model of model2vec's kind that a package brings: 10,000 tokens, 64 dimensions, int8; frozen."""

from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.learn import Classify, Labels, Texts, learn
from benchmarks.peers.talk import Request

NEEDS = ("tokenlearn-static-model==0.1.1",)
VARIANTS = (Variant(name="tokenlearn static model, 64 dimensions, frozen + logistic regression"),)


def load(settings: Request) -> Any:
    """The model, and what fits a head."""
    import numpy as np
    import static_model
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    def encode(texts: Texts) -> Any:
        return np.asarray(static_model.get_embeddings(texts), dtype=np.float32)

    def fit(texts: Texts, labels: Labels) -> Classify:
        regression = LogisticRegression(max_iter=1000)
        head = OneVsRestClassifier(regression) if settings["multi"] else regression
        head.fit(encode(texts), labels)
        return lambda asked: head.predict(encode(asked))

    return fit


if __name__ == "__main__":
    learn(load, ("tokenlearn-static-model",))
