"""What scores depend on beside their rows: what a resumed job, shards and machines of a cluster have in common."""

from dataclasses import asdict

import onnxruntime as ort

from export.bundle import MANIFEST, instruction_set
from serve.scorer import Scorer
from trainer.contract.system.files import sha256


def scorer_identity(scorer: Scorer) -> dict[str, object]:
    """The bundle, how it is run, and on what kind of machine."""
    return {
        "bundle": sha256(scorer.bundle.path / MANIFEST),
        "precision": scorer.session.precision,
        "provider": scorer.session.provider,
        "batch_tokens": scorer.batch_tokens,
        "threads": scorer.threads,
        "thresholds": scorer.thresholds,
        # Only where it is said, so that earlier jobs go on.
        **({} if scorer.abstain else {"abstain": False}),
        "onnxruntime": ort.__version__,
        "instruction_set": instruction_set(),
    }


def how_scored(scorer: Scorer) -> dict[str, object]:
    """How the rows were scored, for the report.

    thresholds: those that were given in place of the bundle's. abstain: the rule by which rows were left unanswered.
    no_abstain: whether the bundle has one that was not to be followed.
    """
    rule = scorer.labels.abstain
    return {
        "bundle": {
            "name": scorer.bundle.manifest.name,
            "sha256": sha256(scorer.bundle.path / MANIFEST),
        },
        "precision": scorer.session.precision,
        "provider": scorer.session.provider,
        "thresholds": scorer.thresholds,
        "abstain": None if rule is None else asdict(rule),
        "no_abstain": not scorer.abstain,
    }
