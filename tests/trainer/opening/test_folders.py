"""Model folders as they are published, in shapes that tests' own do not have; and settings that no network has."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests import tiny
from tests.trainer.opening.hostile import change
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.labels import LabelSpace
from trainer.network.load import Classifier, load_classifier
from trainer.opening.network import INDEX, read_weights
from trainer.recipes.recipe import ModelPart


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny encoder's folder."""
    return tiny.encoder(tmp_path / "encoder")


def opened(name: Path | str) -> Classifier:
    """The model as training opens it."""
    return load_classifier(ModelPart(name=str(name)), LabelSpace(names=("ham", "spam")), 0)


def in_shards(folder: Path) -> None:
    """Part the weights of a folder into two files with an index, as large models come."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for part, held in parts.items():
        save_file({name: weights[name] for name in held}, folder / part)
    index = {"weight_map": {name: part for part, held in parts.items() for name in held}}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def test_a_sharded_model_opens_from_the_hubs_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large models have several files of weights, and every file of the hub's cache is a link out of its folder."""
    whole = read_weights(folder)
    in_shards(folder)
    cached = tmp_path / "hub" / "models--owner--name"
    snapshot = cached / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(snapshot.name, encoding="utf-8")
    shutil.copytree(folder, cached / "blobs")
    for blob in (cached / "blobs").iterdir():
        (snapshot / blob.name).symlink_to(os.path.relpath(blob, snapshot))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert opened("owner/name").new == ("classifier.bias", "classifier.weight")
    found = read_weights(snapshot)
    assert found.keys() == whole.keys()
    assert all(found[name].equal(whole[name]) for name in whole)


@pytest.mark.parametrize("named", ["../other/model.safetensors", "/etc/model.safetensors", "sub/model.safetensors", 7])
def test_an_index_names_files_of_its_own_folder(folder: Path, named: object) -> None:
    """A file of weights elsewhere is not read, whoever names it."""
    in_shards(folder)
    change(folder, INDEX, weight_map={"a": named})
    with pytest.raises(ArtifactError, match="names no files of its folder") as error:
        opened(folder)
    assert str(named) in error.value.details["found"]


@pytest.mark.skipif(int(transformers.__version__.split(".")[0]) > 4, reason="transformers 5 has no pruned heads")
def test_an_encoder_with_pruned_heads_opens(folder: Path) -> None:
    """An attention head that was taken out stays out."""
    network = AutoModelForSequenceClassification.from_pretrained(folder)
    network.prune_heads({0: [1]})
    network.save_pretrained(folder)
    attention = opened(folder).network.get_submodule("bert.encoder.layer.0.attention.self")
    assert attention.get_submodule("query").out_features == 24


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_act": "nope"},
        {"hidden_size": 33},
        {"hidden_size": "32"},
        {"num_attention_heads": 0},
        {"hidden_dropout_prob": 2.0},
        {"pad_token_id": 10**6},
        {"to_dict": "x"},
        {"sub_configs": {"a": {}}},
    ],
    ids=str,
)
def test_sizes_of_no_network_are_an_error_of_ours(folder: Path, settings: dict[str, Any]) -> None:
    """Values that transformers stumbles over, each family in its own way, name the file and say what was found."""
    change(folder, "config.json", **settings)
    with pytest.raises(InputError, match=r"config\.json") as error:
        opened(folder)
    assert error.value.details["where"] == str(folder / "config.json")
    assert error.value.details["found"]


@pytest.mark.parametrize("key", ["auto_map", "custom_pipelines", "quantization_config", "trust_remote_code"])
@pytest.mark.parametrize("empty", [None, {}, False], ids=str)
def test_an_empty_value_asks_for_nothing(folder: Path, key: str, empty: object) -> None:
    """Tools write keys that name no code or no quantization: such a folder opens, and no such key goes further."""
    change(folder, "config.json", **{key: empty})
    change(folder, "tokenizer_config.json", **{key: empty})
    assert key not in opened(folder).network.config.to_dict()


def test_special_tokens_that_transformers_5_lists_are_read(folder: Path) -> None:
    """Version 5 writes a list where 4 has a dictionary: both know the tokens as special afterwards."""
    words = AutoTokenizer.from_pretrained(folder)
    change(folder, "tokenizer_config.json", extra_special_tokens=["win", "free"])
    tokenizer = opened(folder).tokenizer
    assert {"win", "free"} <= set(tokenizer.all_special_tokens)
    assert tokenizer.get_vocab() == words.get_vocab()


def test_a_token_without_a_row_of_embeddings_is_named(folder: Path) -> None:
    """Words that were added to a tokenizer alone would end training at the first text with one."""
    words = AutoTokenizer.from_pretrained(folder)
    words.add_tokens(["zqx"])
    words.save_pretrained(folder)
    with pytest.raises(InputError, match="tokens that its network does not know") as error:
        opened(folder)
    assert "zqx" in error.value.details["found"]


def test_a_tokenizer_that_asks_to_be_made_anew_is_read_as_it_is(folder: Path) -> None:
    """`from_slow` stays in a folder whose tokenizer was once converted: its tokenizer.json holds what came of that."""
    before = opened(folder).tokenizer.backend_tokenizer.to_str()
    change(folder, "tokenizer_config.json", from_slow=True)
    assert opened(folder).tokenizer.backend_tokenizer.to_str() == before
