"""Both environments on one run: what one lane trained, the other exports as the same classifier, or refuses."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import transformers

from export.bundle import Parity
from export.pipeline import ExportJob, export
from tests.export.passes.graphs import FAMILIES, FAMILIES_5
from tests.trainer import runs
from trainer.contract.errors import ArtifactError, InputError

HERE = int(transformers.__version__.split(".")[0])
OTHER = {4: 5, 5: 4}[HERE]
# Where `make setup` and `make LANE=5 setup` install them.
PYTHON = runs.ROOT / {4: ".venv", 5: ".venv-5"}[OTHER] / "bin" / "python"
TRAIN = """
import json, sys
from pathlib import Path
from tests import tiny
from tests.trainer import runs
from trainer.recipes.file import load
from trainer.stages import train
from trainer.training import TrainJob
family, folder, changes = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
tiny.encoder(folder / "encoder", family, **{"initializer_range": 0.2, **changes})
train(TrainJob(recipe=load(runs.write_recipe(folder, rows=240)), out=folder / "run", quiet=True))
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason=f"lane {OTHER} is not installed beside this one"),
    pytest.mark.timeout(900),
]


# What each lane computes and the other does not know, and an encoder of a family that both have.
ONLY_THERE: dict[int, tuple[str, dict[str, Any]]] = {
    4: ("bert", {"position_embedding_type": "relative_key"}),
    5: (
        "modernbert",
        {
            **FAMILIES["modernbert"],
            "rope_parameters": {
                kind: {"rope_type": "default", "rope_theta": 10.0} for kind in ("full_attention", "sliding_attention")
            },
        },
    ),
}


def trained(folder: Path, family: str, changes: dict[str, Any]) -> Path:
    """A run that the other lane's environment trained."""
    folder.mkdir()
    subprocess.run(
        [PYTHON, "-c", TRAIN, family, folder, json.dumps(changes)],
        cwd=runs.ROOT,
        env={**os.environ, "PYTHONPATH": str(runs.ROOT)},
        check=True,
        capture_output=True,
    )
    return folder / "run"


def exported(run: Path, out: Path) -> Parity:
    """Export here. One epoch of a tiny network learns little; here it is the same answers that count."""
    job = ExportJob(run=run, out=out, precisions=("fp32",), anyway=True, timing=False, quiet=True)
    return export(job).graphs["fp32"].parity


@pytest.mark.parametrize("family", ["bert", "modernbert", "deberta-v2"])
def test_what_the_other_lane_trained_is_exported_here(family: str, tmp_path: Path) -> None:
    """Its golden logits are computed here too, and the bundle decides as torch does."""
    parity = exported(trained(tmp_path / "other", family, FAMILIES[family]), tmp_path / "bundle")
    assert parity.label_agreement == 1
    assert parity.max_difference < 1e-5


def test_what_is_another_function_here_is_refused(tmp_path: Path) -> None:
    """An encoder whose positions only the other lane computes trains there and leaves no bundle here: the error names
    the key and the lane.
    """
    family, changes = ONLY_THERE[OTHER]
    run = trained(tmp_path / "other", family, changes)
    with pytest.raises(ArtifactError, match="another function") as error:
        exported(run, tmp_path / "bundle")
    assert next(key for key in changes if key not in FAMILIES[family]) in error.value.details["found"]
    assert f"lane {OTHER}" in error.value.details["do"]
    assert not (tmp_path / "bundle").exists()


@pytest.mark.skipif(HERE == 5, reason="lane 5 has every family that lane 4 can train here")
@pytest.mark.parametrize("family", FAMILIES_5)
def test_a_family_that_only_the_other_lane_has_is_refused(family: str, tmp_path: Path) -> None:
    """What lane 5 trained on an encoder that lane 4 does not know is refused by the family's name, with the lane."""
    run = trained(tmp_path / "other", family, FAMILIES_5[family])
    with pytest.raises(InputError, match=repr(family)) as error:
        exported(run, tmp_path / "bundle")
    assert "lane 5" in error.value.details["do"]
