"""A bundle's tokenizer opens in other people's tools, whichever lane trained it."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from export.pipeline import ExportJob, export
from tests.export.runs import make_run, texts
from tests.trainer.opening.hostile import change
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.system.files import read_json


def test_a_tokenizer_of_transformers_5_opens_in_either_version(tmp_path: Path) -> None:
    """Version 5 has another name for the class, and a list where 4 has a dictionary: optimum, which needs 4, would not
    open them. The bundle says both as either reads them, and the tokens are the same.
    """
    run = make_run(tmp_path / "run")
    checkpoint = Checkpoint.best(run)
    expected = AutoTokenizer.from_pretrained(checkpoint.path)
    change(
        checkpoint.path,
        "tokenizer_config.json",
        tokenizer_class="TokenizersBackend",
        backend="tokenizers",
        extra_special_tokens=["win"],
    )
    checkpoint.save()
    export(ExportJob(run=run, out=tmp_path / "bundle", precisions=("fp32",), timing=False, quiet=True))
    settings = read_json(tmp_path / "bundle" / "tokenizer_config.json")
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "extra_special_tokens" not in settings
    found = AutoTokenizer.from_pretrained(tmp_path / "bundle")
    assert isinstance(found, PreTrainedTokenizerFast)
    assert "win" in found.all_special_tokens
    assert found(texts(20))["input_ids"] == expected(texts(20))["input_ids"]
