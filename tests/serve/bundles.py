"""What the tests of scoring say of bundles. Needs no torch until one is made (`making.py`)."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from export.bundle import (
    GRAPH_FILES,
    ExportManifest,
    GoldenBounds,
    GraphFile,
    Parity,
    _read_manifest,
    hash_files,
    instruction_set,
    write_manifest,
)
from tests.words import CORPUS
from trainer.contract.checkpoint import Contract
from trainer.contract.encoding import EncodingPolicy, TextEncoder
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace

# A folder of bundles that were made elsewhere, for an environment that has no torch (tests/test_versions.py).
MADE = "CLASSIFACT_TEST_BUNDLES"
BATCH_TOKENS = 256


def contract(kind: Any = "single", **spec: Any) -> Contract:
    """Three labels, one text column unless said otherwise."""
    return Contract(
        labels=LabelSpace(names=("ham", "spam", "eggs"), kind=kind),
        input=InputSpec(**{"text": ("text",), **spec}),
        encoding=EncodingPolicy(max_tokens=32),
    )


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 1 to 60 words from the tiny corpus; hardly any repeats."""
    words = " ".join(CORPUS).split()
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(words, generator.integers(1, 60))) for _ in range(count)]


def torch_logits(folder: Path, encoder: TextEncoder, rows: list[str], pairs: list[str] | None = None) -> np.ndarray:
    """What torch says, row by row, float32 [N, C]."""
    _require_torch()
    from tests.serve import making  # noqa: PLC0415 -- brings torch

    return making.torch_logits(folder, encoder, rows, pairs)


def make(folder: Path, given: Contract, **options: Any) -> Path:
    """A bundle in `folder`, made here or, where there is no torch, copied from the one of that name made elsewhere.

    See `making.make` for the options. Returns the folder.
    """
    made = Path(os.environ[MADE]) / folder.name if MADE in os.environ else None
    if made is not None and made.is_dir() and not options:
        return Path(shutil.copytree(made, folder))
    _require_torch()
    from tests.serve import making  # noqa: PLC0415 -- brings torch

    return making.make(folder, given, **options)


def _require_torch() -> None:
    if MADE in os.environ and importlib.util.find_spec("torch") is None:
        import pytest  # noqa: PLC0415 -- benchmarks make bundles where it is not installed

        pytest.skip("made with torch, which is not here")


def reseal(
    folder: Path,
    given: Contract,
    precisions: tuple[str, ...] = ("fp32", "int8"),
    golden: dict[str, GoldenBounds] | None = None,
    **changes: Any,
) -> None:
    """Write the manifest of what lies in the folder; the golden rows' bounds are the old manifest's unless given."""
    if golden is None:
        golden = {name: graph.golden for name, graph in _read_manifest(folder).graphs.items()}
    figures = {"label_agreement": 1.0, "max_difference": 0.0, "p99_difference": 0.0, "torch_value": 1.0, "value": 1.0}
    parity = Parity(rows=8, metric="accuracy", drop=0.0, drop_low=0.0, drop_high=0.0, **figures)
    graphs = {
        name: GraphFile(
            file=GRAPH_FILES[name],
            opset=17,
            bytes=(folder / GRAPH_FILES[name]).stat().st_size,
            parity=parity,
            instruction_set=instruction_set(),
            golden=golden[name],
        )
        for name in precisions
    }
    manifest = ExportManifest(
        name="tiny",
        model_type="bert",
        contract=given,
        graphs=graphs,
        files=hash_files(folder),
        batch_tokens=BATCH_TOKENS,
        versions={},
    )
    write_manifest(folder, ExportManifest(**{**vars(manifest), **changes}))
