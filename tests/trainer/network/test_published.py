"""Published classifiers and odd folders as `model.name`: heads, keys of another version, tokenizers, hub names."""

import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from tests import tiny
from tests.trainer import runs
from tests.trainer.opening.hostile import change
from trainer.contract.encoding import EncodingPolicy, TextEncoder
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.labels import LabelSpace
from trainer.network.load import Classifier, load_classifier, open_checkpoint
from trainer.opening.golden import make_golden
from trainer.recipes.file import load
from trainer.recipes.recipe import ModelPart

TEXTS = ["win a free prize now", "the cat sat on the mat and the dog ran away", "ok", "see you tomorrow"]
SPACE = LabelSpace(names=("ham", "spam"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of ham and spam, as somebody publishes it."""
    return tiny.checkpoint(tmp_path_factory.mktemp("published") / "model").path


def logits(classifier: Classifier) -> Any:
    """What a classifier makes of the texts, [4, C]."""
    words = Tokenizer.from_str(classifier.tokenizer.backend_tokenizer.to_str())
    policy = EncodingPolicy(max_tokens=32, pad_id=int(classifier.tokenizer.pad_token_id or 0))
    return make_golden(classifier.network, TextEncoder(words, policy), TEXTS, None).logits


def opened(folder: Path, *names: str, **changes: Any) -> Classifier:
    """The folder as an encoder for labels of these names."""
    return load_classifier(ModelPart(name=str(folder), **changes), LabelSpace(names=names), 0)


def test_a_heads_rows_follow_the_names_of_its_labels(published: Path) -> None:
    """The same names keep the head, in another order its rows are moved: decisions stay, by name. It is said."""
    same, turned = opened(published, "ham", "spam"), opened(published, "spam", "ham")
    assert (same.new, turned.new) == ((), ())
    assert np.array_equal(logits(turned), logits(same)[:, ::-1])
    assert "recipe's labels" in same.notes[-1]
    assert "order of labels" in turned.notes[-1]


@pytest.mark.parametrize("names", [("no", "yes"), ("a", "b", "c")])
def test_other_labels_get_a_new_head(published: Path, names: tuple[str, ...]) -> None:
    """Labels of other names, or of another number, get a head drawn with the seed, and the line says what there was."""
    found = opened(published, *names)
    assert found.new == ("classifier.bias", "classifier.weight")
    assert "2 labels (ham, spam)" in found.notes[-1]
    assert logits(found).shape == (4, len(names))


def test_a_head_of_generic_labels_is_new_unless_it_is_asked_for(published: Path, tmp_path: Path) -> None:
    """LABEL_0 and LABEL_1 mean nothing: a new head, or with `keep` the rows as they stand."""
    shutil.copytree(published, tmp_path / "model")
    change(tmp_path / "model", "config.json", id2label={"0": "LABEL_0", "1": "LABEL_1"})
    assert opened(tmp_path / "model", "ham", "spam").new
    kept = opened(tmp_path / "model", "spam", "ham", head="keep")
    assert kept.new == ()
    assert np.array_equal(logits(kept), logits(opened(published, "ham", "spam")))
    assert opened(published, "ham", "spam", head="new").new
    with pytest.raises(InputError, match="head: keep"):
        opened(published, "a", "b", "c", head="keep")


def test_a_checkpoint_of_another_version_is_an_error_that_names_the_key(tmp_path: Path) -> None:
    """A key that this version ignores is another function, as `rope_parameters` of transformers 5 are to version 4."""
    made = tiny.checkpoint(tmp_path / "checkpoint", model_type="modernbert")
    unknown = {"rope_future": {"full_attention": {"rope_theta": 10.0}}}
    change(made.path, "config.json", **unknown)
    with pytest.raises(ArtifactError, match="ignores") as error:
        open_checkpoint(made.path)
    assert "rope_future" in str(error.value)
    assert any("rope_future" in note for note in opened(made.path, "ham", "spam").notes)
    change(made.path, "config.json", transformers_version="99.0.0")
    with pytest.raises(InputError, match="ignores") as refused:
        opened(made.path, "ham", "spam")
    assert "rope_future; written by transformers 99.0.0" in str(refused.value)


def test_a_key_that_only_the_networks_source_reads_is_known(tmp_path: Path) -> None:
    """DeBERTa's class does not know `norm_rel_ebd`, its network asks for it: it stays, and the function with it."""
    folder = tiny.encoder(tmp_path / "deberta", "deberta-v2", relative_attention=True, norm_rel_ebd="layer_norm")
    assert opened(folder, "ham", "spam").network.config.norm_rel_ebd == "layer_norm"


def test_a_tokenizer_of_an_unknown_class_opens_from_its_file(published: Path, tmp_path: Path) -> None:
    """A class of a later transformers adds nothing to a sound tokenizer.json; without the file it is refused."""
    shutil.copytree(published, tmp_path / "model")
    change(tmp_path / "model", "tokenizer_config.json", tokenizer_class="BackendOfTomorrow")
    assert np.array_equal(logits(opened(tmp_path / "model", "ham", "spam")), logits(opened(published, "ham", "spam")))
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="no fast tokenizer"):
        opened(tmp_path / "model", "ham", "spam")


def test_a_model_without_a_padding_token_is_padded_with_one_that_is_hidden(tmp_path: Path) -> None:
    """A row's logits are the same whatever it is padded to; without any token to pad with it is refused by name."""
    words = tiny.tokenizer()
    vocabulary = {token: number for number, token in enumerate(["<end>", *sorted(words.get_vocab())])}
    plain = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = Whitespace()
    torch.manual_seed(0)
    folder = tiny.encoder(tmp_path / "gpt2", "gpt2", vocab_size=len(vocabulary), pad_token_id=None, eos_token_id=0)
    for path in folder.glob("*token*"):
        path.unlink()
    PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>").save_pretrained(folder)
    found = opened(folder, "ham", "spam")
    assert any("no padding token" in note and "<end>" in note for note in found.notes)
    policy = EncodingPolicy(max_tokens=32, pad_id=int(found.tokenizer.pad_token_id or 0))
    encoder = TextEncoder(Tokenizer.from_str(found.tokenizer.backend_tokenizer.to_str()), policy)
    alone = np.concatenate([make_golden(found.network, encoder, [text], None).logits for text in TEXTS])
    assert np.abs(logits(found) - alone).max() < 1e-5
    PreTrainedTokenizerFast(tokenizer_object=plain).save_pretrained(folder)
    with pytest.raises(InputError, match="no padding token"):
        opened(folder, "ham", "spam")


def test_weights_that_leave_the_encoder_open_are_refused(published: Path, tmp_path: Path) -> None:
    """A deeper config.json than the weights would train layers from random numbers."""
    shutil.copytree(published, tmp_path / "model")
    change(tmp_path / "model", "config.json", num_hidden_layers=3)
    with pytest.raises(InputError, match="do not fill its encoder"):
        opened(tmp_path / "model", "ham", "spam")


@pytest.mark.parametrize("answers", [False, True])
def test_a_hub_that_does_not_answer_is_an_error_within_seconds(answers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused or held for ever, the connection costs less than five seconds, and the error says what works."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if answers:
            server.listen(8)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", address, raising=False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        started = time.monotonic()
        with pytest.raises(InputError, match="cannot reach the hub") as error:
            load_classifier(ModelPart(name="nobody/no-such-model-here"), SPACE, 0)
        assert time.monotonic() - started < 5
    assert "a local folder or an earlier download works" in str(error.value)


def test_a_local_model_is_relative_to_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As data files are, wherever the command is run; a name that is no folder beside the recipe stays the hub's."""
    sweep = {"space": {"model.name": {"choices": ["encoder", "owner/model"]}}, "metric": "loss"}
    path = runs.write_recipe(tmp_path / "a", model={"name": "./encoder"}, sweep=sweep)
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    recipe = load(path)
    assert recipe.model.name == str(tmp_path / "a" / "encoder")
    assert recipe.sweep is not None
    assert recipe.sweep.space["model.name"].choices == (recipe.model.name, "owner/model")
    assert load(path, ("model.name=owner/model",)).model.name == "owner/model"
    assert json.loads(Path(recipe.model.name, "config.json").read_bytes())["model_type"] == "bert"
