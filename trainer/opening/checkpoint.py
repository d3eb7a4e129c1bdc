"""The one loader of checkpoints, for training, evaluation and export: strict, since holes are filled at random."""

from pathlib import Path

import transformers
from transformers import PreTrainedModel

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError
from trainer.contract.golden import Golden
from trainer.contract.lanes import other_lane
from trainer.opening.config import ModelConfig
from trainer.opening.golden import check_golden
from trainer.opening.labels import label_settings
from trainer.opening.network import network_with, read_weights
from trainer.opening.tokenizer import clean_settings


def open_network(folder: Path) -> PreTrainedModel:
    """The network of a checkpoint folder, in fp32 and evaluation mode, with the labels of its contract.

    Raises InputError where config.json asks for code, ArtifactError where it holds a key that this version of
    transformers would ignore and no golden logits show that this changes nothing, or where the weights are damaged,
    missing, of another shape or too many.
    """
    found = ModelConfig.read(folder)
    # Callers open the tokenizer's files next, or hand them on.
    clean_settings(folder)
    checkpoint = Checkpoint.open(folder)
    config, unknown = found.build(label_settings(checkpoint.contract.labels))
    if unknown and Golden.open(folder) is None:
        raise _ignored(found, unknown, "no golden logits show what it computed")
    filled = network_with(found.family, config, read_weights(folder), found.path)
    wrong = {"missing": filled.missing, "of another shape": filled.other_shape, "left over": filled.left_over}
    if any(wrong.values()):
        names = "; ".join(f"{kind}: {', '.join(names[:5])}" for kind, names in wrong.items() if names)
        if unknown:
            raise _ignored(found, unknown, f"weights {names}")
        raise ArtifactError(
            "the checkpoint's weights do not fill its network",
            where=folder,
            found=names,
            do="restore it, or train again",
        )
    if unknown:
        try:
            check_golden(checkpoint, filled.network)
        except ArtifactError as error:
            raise _ignored(found, unknown, error.details["found"]) from error
    return filled.network


def _ignored(found: ModelConfig, unknown: list[str], sign: str) -> ArtifactError:
    return ArtifactError(
        "the checkpoint's config.json holds keys that this version of transformers ignores: it would compute another"
        " function",
        where=found.path,
        found=f"{', '.join(unknown)}; written by transformers {found.written_by or '(not said)'}; {sign}",
        expected=f"keys that transformers {transformers.__version__} knows for the family {found.family!r}",
        do=other_lane(transformers.__version__, written_by=found.written_by)
        or "install the version of transformers that wrote it; keys that no version reads may be taken out of"
        " config.json, and that file's line out of sha256 in contract.json",
    )
