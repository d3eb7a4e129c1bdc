"""The labels of a network: in its configuration, and the rows of its head."""

from typing import Any

from trainer.contract.labels import LabelSpace


def label_settings(space: LabelSpace) -> dict[str, Any]:
    """What a configuration says of the labels. Other tools read it: a sigmoid for multi, a softmax for single."""
    return {
        "num_labels": len(space),
        "id2label": dict(enumerate(space.names)),
        "label2id": {name: number for number, name in enumerate(space.names)},
        "problem_type": f"{space.kind}_label_classification",
    }
