"""What one lane wrote in the other: read as the same function, or refused by a line that names the lane to take.

`written.json` holds config.json and tokenizer_config.json as transformers 4.57.6 and 5.24.0 wrote them for the same
tiny networks. The real thing, both environments on one folder, is `benchmarks/families.py`.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from export.pipeline import ExportJob, export
from tests import tiny
from tests.export.passes.graphs import ALL, FAMILIES
from tests.export.runs import contract, make_run, texts
from tests.trainer.opening.hostile import change
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.golden import Golden
from trainer.contract.labels import LabelSpace
from trainer.contract.lanes import ONLY, other_lane
from trainer.network.load import Classifier, load_classifier, open_checkpoint
from trainer.opening.checkpoint import open_network
from trainer.opening.golden import check_golden, make_golden
from trainer.recipes.recipe import ModelPart

HERE = int(transformers.__version__.split(".")[0])
OTHER = {4: 5, 5: 4}[HERE]
VERSIONS = {4: "4.57.6", 5: "5.24.0"}
WRITTEN: dict[str, Any] = json.loads((Path(__file__).parent / "written.json").read_text(encoding="utf-8"))


def written(family: str, folder: Path) -> Checkpoint:
    """A checkpoint with golden logits of this lane, its files as the other lane writes them."""
    changes = {"initializer_range": 0.3, "spread": 1.0, **FAMILIES[family]}
    made = tiny.checkpoint(folder / "checkpoint", contract(), family, **changes)
    make_golden(open_network(made.path), made.encoder(), texts(40), None).save(made.path)
    for name, content in WRITTEN[str(OTHER)][family].items():
        (made.path / name).write_text(json.dumps(content), encoding="utf-8")
    return made


@pytest.mark.parametrize("family", WRITTEN["4"])
def test_a_checkpoint_of_the_other_lane_is_the_same_function(family: str, tmp_path: Path) -> None:
    """With the keys and the tokenizer's class that the other lane writes, logits are the golden ones, and so are the
    tokens.
    """
    made = written(family, tmp_path)
    assert "golden rows: logits within" in check_golden(made, open_network(made.path))
    plain = Tokenizer.from_file(str(made.path / "tokenizer.json"))
    tokens = open_checkpoint(made.path).tokenizer(texts(5, 20))["input_ids"]
    assert tokens == [plain.encode(text).ids for text in texts(5, 20)]


@pytest.mark.skipif(HERE == 5, reason="transformers 5 reads the keys of 4.57's ModernBERT")
def test_keys_that_this_lane_ignores_are_judged_by_the_golden_logits(tmp_path: Path) -> None:
    """Rotary settings of transformers 5 that 4.57 computes otherwise are refused by name, with the lane that reads
    them; so are those of a checkpoint that has no golden logits to show.
    """
    made = written("modernbert", tmp_path)
    config = json.loads((made.path / "config.json").read_bytes())
    config["rope_parameters"]["full_attention"]["rope_theta"] = 100.0
    truth = Golden.open(made.path)
    assert truth is not None
    # What transformers 5 would have computed with it is not the point: 4.57 computes as if it were not there.
    for logits in (truth.logits + 0.05, None):
        (made.path / "golden.json").unlink()
        if logits is not None:
            Golden(texts=truth.texts, pairs=None, logits=logits, versions=truth.versions).save(made.path)
        change(made.path, "config.json", **config)
        with pytest.raises(ArtifactError, match="ignores") as error:
            open_network(made.path)
        assert "rope_parameters" in error.value.details["found"]
        assert "lane 5" in error.value.details["do"]


@pytest.mark.skipif(HERE == 4, reason="transformers 4 computes them")
def test_an_encoder_with_relative_positions_is_for_lane_4(tmp_path: Path) -> None:
    """transformers 5 has no relative positions for BERT: an encoder that asks for them is refused, not changed."""
    folder = tiny.encoder(tmp_path / "encoder")
    for kind, refused in (("absolute", False), ("relative_key", True)):
        change(folder, "config.json", position_embedding_type=kind, transformers_version="4.30.0")
        if not refused:
            assert "position_embedding_type" in " ".join(opened(folder).notes)
            continue
        with pytest.raises(InputError, match="ignores") as error:
            opened(folder)
        assert "position_embedding_type" in error.value.details["found"]
        assert "lane 4" in error.value.details["do"]


def opened(folder: Path) -> Classifier:
    """A folder as training opens it."""
    return load_classifier(ModelPart(name=str(folder)), LabelSpace(names=("ham", "spam")), 0)


def test_golden_logits_of_the_other_lane_name_it(tmp_path: Path) -> None:
    """An export of weights that are another function here leaves no bundle and names the lane that trained them; where
    this lane trained them, none.
    """
    run = make_run(tmp_path / "run")
    best = Checkpoint.best(run)
    golden = make_golden(open_network(best.path), best.encoder(), texts(40), None)
    for lane in (OTHER, HERE):
        made = Golden(
            texts=golden.texts,
            pairs=None,
            logits=golden.logits + 0.05,
            versions={**golden.versions, "transformers": VERSIONS[lane]},
        )
        made.save(best.path)
        best.save()
        with pytest.raises(ArtifactError, match="another function here") as error:
            export(ExportJob(run=run, out=tmp_path / "bundle", quiet=True))
        assert (f"lane {OTHER}" in error.value.details["do"]) == (lane == OTHER)
        assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("family", sorted(ONLY[OTHER]))
def test_a_family_that_only_the_other_lane_has_names_it(family: str, tmp_path: Path) -> None:
    """Training and export refuse it by name, and say which lane to take, whatever version the file says wrote it."""
    folder = tiny.encoder(tmp_path / "encoder")
    change(folder, "config.json", model_type=family, transformers_version=None)
    for road in (open_network, opened):
        with pytest.raises(InputError, match=repr(family)) as error:
            road(folder)
        assert f"lane {OTHER}" in error.value.details["do"]


def test_an_unknown_family_names_the_lane_that_wrote_it(tmp_path: Path) -> None:
    """A family that no list has is looked for in the lane whose version the file names; a typing error is not."""
    folder = tiny.encoder(tmp_path / "encoder")
    for version, named in ((VERSIONS[OTHER], True), (VERSIONS[HERE], False)):
        change(folder, "config.json", model_type="berty", transformers_version=version)
        with pytest.raises(InputError, match="'berty'") as error:
            open_network(folder)
        assert (f"lane {OTHER}" in error.value.details["do"]) == named


def test_the_lists_of_families_are_those_of_the_lanes() -> None:
    """This lane has a classifier of every family that is its own, and none of the other's."""
    known = set(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
    assert known >= ONLY[HERE]
    assert known.isdisjoint(ONLY[OTHER])


@pytest.mark.parametrize("version", ["", "6.0.0", "main", "4.57.6", "5.24.0"])
def test_no_lane_is_named_where_none_is_known(version: str) -> None:
    """A version of no lane, or of this one, names none."""
    here = VERSIONS[HERE]
    assert bool(other_lane(here, written_by=version)) == (version == VERSIONS[OTHER])


@pytest.mark.parametrize("family", ["bert", *(name for name in ALL if name not in FAMILIES)])
def test_weights_lie_in_memory_of_their_own(family: str, tmp_path: Path) -> None:
    """No weight is a part of a larger tensor, as transformers 5 leaves GTE's: a run's state could not be written."""
    tiny.encoder(tmp_path / "encoder", family, **{"initializer_range": 0.2, **ALL[family]})
    part = ModelPart(name=str(tmp_path / "encoder"))
    network = load_classifier(part, LabelSpace(names=("a", "b"), kind="single"), seed=1).network
    shared = [name for name, each in network.named_parameters() if each.untyped_storage().nbytes() > each.nbytes]
    assert shared == []
