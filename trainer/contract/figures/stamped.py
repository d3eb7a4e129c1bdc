"""Files of figures: each says which weights, and which decisions, it was measured on, and is refused beside others."""

import hashlib
from pathlib import Path
from typing import Any

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError
from trainer.contract.system.files import json_bytes, read_json, sha256, write_json

SPLIT_SCHEMA = 2
"""The version of `{split}_metrics.json`; its shape is `trainer/split_metrics.schema.json`."""
DECISIONS_SCHEMA = 2
"""The version of `decisions.json`; its shape is `trainer/decisions.schema.json`."""


def measured_on(checkpoint: Checkpoint) -> dict[str, str]:
    """What figures of a checkpoint depend on. weights: SHA-256 of model.safetensors; contract: of the labels with their
    thresholds, temperature and abstaining, the columns, and the truncation.
    """
    contract = hashlib.sha256(json_bytes(checkpoint.contract.plain())).hexdigest()
    return {"weights": weights(checkpoint), "contract": contract}


def weights(checkpoint: Checkpoint) -> str:
    """SHA-256 of a checkpoint's weights."""
    return sha256(checkpoint.path / "model.safetensors")


def write_figures(path: Path, content: dict[str, Any], checkpoint: Checkpoint) -> None:
    """Write figures with what they were measured on."""
    write_json(path, {**content, "measured_on": measured_on(checkpoint)})


def read_figures(
    path: Path,
    checkpoint: Checkpoint,
    *,
    decided: bool = True,
    schema: int | None = None,
    do: str = "measure again (`classifact evaluate RUN`), or move the file away",
) -> dict[str, Any]:
    """Read figures of this very checkpoint. decided: whether they must be of its thresholds too, not of its weights
    alone. schema: the version that the file must have; None takes any.

    Raises ArtifactError where they were measured on other weights or other decisions, do not say on which, or have
    another version.
    """
    content = read_json(path)
    found = content.get("measured_on") if isinstance(content, dict) else None
    known = found if isinstance(found, dict) else {}
    for name, expected in measured_on(checkpoint).items():
        if (decided or name == "weights") and known.get(name) != expected:
            told = f"sha256 {str(known[name])[:16]}..." if name in known else "none, or one of an earlier version"
            raise ArtifactError(
                f"the figures are not of this checkpoint: they have another hash of its {name}",
                where=path,
                found=told,
                expected=f"sha256 {expected[:16]}... ({checkpoint.path.name})",
                do=do,
            )
    if schema is not None and content.get("schema") != schema:
        raise ArtifactError(
            "the figures have the shape of another version of Classifact",
            where=path,
            found=f"schema {content.get('schema', 'none')}",
            expected=f"schema {schema}",
            do=do,
        )
    return dict(content)
