"""model2vec: one vector a token, and its own classifier on their mean.

Its published models cannot be had here, so one is distilled from the encoder that everyone here starts from, as its
documentation has it (`distill`, 256 dimensions); that is done while loading, once.
"""

from pathlib import Path
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.learn import Classify, Labels, Texts, learn
from benchmarks.peers.talk import Request

NEEDS = ("model2vec[distill,train]==0.10.0",)
VARIANTS = (
    Variant(name="model2vec distilled from MiniLM, frozen + logistic regression"),
    Variant(name="model2vec distilled from MiniLM, fine-tuned", settings={"tuned": True}),
)


def load(settings: Request) -> Any:
    """The distilled model, and what fits a head."""
    from model2vec import StaticModel
    from model2vec.distill import distill_from_model
    from model2vec.train import StaticModelForClassification
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from transformers import AutoModel, AutoTokenizer

    folder, kept = settings["encoder"], Path(settings["cache"]) / "distilled"
    if not kept.exists():
        model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        distill_from_model(model=model, tokenizer=tokenizer).save_pretrained(str(kept))
    static = StaticModel.from_pretrained(str(kept))

    def tuned(texts: Texts, labels: Labels) -> Classify:
        # Several labels a row are lists of names there.
        names: list[Any] = (
            [[str(n) for n, one in enumerate(row) if one] for row in labels] if settings["multi"] else labels
        )
        classifier = StaticModelForClassification.from_static_model(model=static).fit(texts, names)
        if not settings["multi"]:
            return lambda asked: [int(each) for each in classifier.predict(asked)]
        width = range(len(settings["labels"]))
        return lambda asked: [[int(str(n) in row) for n in width] for row in classifier.predict(asked)]

    def frozen(texts: Texts, labels: Labels) -> Classify:
        regression = LogisticRegression(max_iter=1000)
        head = OneVsRestClassifier(regression) if settings["multi"] else regression
        head.fit(static.encode(texts), labels)
        return lambda asked: head.predict(static.encode(asked))

    return tuned if settings.get("tuned") else frozen


if __name__ == "__main__":
    learn(load, ("model2vec", "transformers", "torch"))
