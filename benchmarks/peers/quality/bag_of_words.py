"""tf-idf and logistic regression of scikit-learn: what no encoder should cost more than, and be no better."""

from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.learn import Classify, Labels, Texts, learn
from benchmarks.peers.talk import Request

NEEDS = ()
VARIANTS = (
    Variant(name="tf-idf + logistic regression, defaults", quick=True),
    Variant(
        name="tf-idf of words and pairs, C = 10",
        settings={"words": {"ngram_range": (1, 2), "sublinear_tf": True}, "strength": 10.0, "solver": "newton-cg"},
    ),
)


def load(settings: Request) -> Any:
    """What fits both."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    words = {**settings.get("words", {})}
    if "ngram_range" in words:
        words["ngram_range"] = tuple(words["ngram_range"])

    def fit(texts: Texts, labels: Labels) -> Classify:
        solver = settings.get("solver", "lbfgs")
        regression = LogisticRegression(C=settings.get("strength", 1.0), solver=solver, max_iter=1000)
        head = OneVsRestClassifier(regression) if settings["multi"] else regression
        labelled: Classify = make_pipeline(TfidfVectorizer(**words), head).fit(texts, labels).predict
        return labelled

    return fit


if __name__ == "__main__":
    learn(load, ("scikit-learn",))
