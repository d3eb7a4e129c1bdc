"""A model folder's tokenizer: made from a cleaned copy of its files, in which nothing names code or other files.

A chat template's name becomes a file's name when a tokenizer is saved (CVE-2026-9856), settings may name files
anywhere, and where no class is named transformers opens config.json. So it sees a folder of ours, with what a tokenizer
needs.
"""

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from trainer.contract.errors import InputError
from trainer.contract.system.files import read_json, write_json
from trainer.opening.config import ModelConfig, refuse_keys

SETTINGS = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
# Vocabularies: text, or the protocol buffers of sentencepiece.
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "bpe.codes",
    "spiece.model",
    "sentencepiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
)
# Of no use here; `from_slow` would have tokenizer.json made anew by one lane alone, from files that need not be there.
_NOT_OURS = ("auto_map", "chat_template", "from_slow", "name_or_path", "processor_class", "image_processor_type")


def open_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a model folder. name: of the model, for messages.

    One whose class is unknown to this transformers is opened from tokenizer.json alone. Raises InputError where there
    is none, or its settings ask for code.
    """
    config = ModelConfig.read(folder)
    settings = clean_settings(folder)
    if "tokenizer_class" not in settings and config.settings.get("tokenizer_class"):
        settings["tokenizer_class"] = config.settings["tokenizer_class"]
    if not _is_known(settings.get("tokenizer_class")):
        if not (folder / "tokenizer.json").is_file():
            raise _no_tokenizer(name, f"the class {settings['tokenizer_class']!r}, which transformers does not have")
        # transformers 5 writes names that 4 does not know; the file says all that such a class adds.
        settings["tokenizer_class"] = PreTrainedTokenizerFast.__name__
    if not any((folder / file).is_file() for file in _VOCABULARIES):
        # transformers 5 makes a tokenizer without a single word of nothing.
        raise _no_tokenizer(name, "no file with a vocabulary")
    with tempfile.TemporaryDirectory(prefix="classifact-") as clean:
        _fill(Path(clean), folder, config.family, settings)
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                clean, use_fast=True, trust_remote_code=False, local_files_only=True
            )
        except Exception as error:
            # Each class raises what it likes.
            logging.getLogger(__name__).debug("tokenizer of %s", folder, exc_info=True)
            raise _no_tokenizer(name, " ".join(str(error).replace(clean, str(folder)).split())[:200]) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise _no_tokenizer(name, type(tokenizer).__name__)
    tokenizer.name_or_path, tokenizer.chat_template = "", None
    return tokenizer


def clean_settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json without templates and names of files, in words that both lanes read; empty where there is
    none.

    Raises InputError for a key that asks for code.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError("tokenizer_config.json holds no keys and values", where=path, do="restore it from its source")
    refuse_keys(content, path)
    settings = {
        key: value
        for key, value in content.items()
        if key not in _NOT_OURS and not key.startswith("_") and not key.endswith(("_file", "trust_remote_code"))
    }
    if isinstance(settings.get("extra_special_tokens"), list):
        # transformers 5 writes the list under this name, and reads it under the old one too; 4 has a dictionary here.
        settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    if settings.get("tokenizer_class") == "TokenizersBackend":
        # The same class by the name that it has in 4, and still answers to in 5.
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    return settings


def clean_special(folder: Path) -> dict[str, Any]:
    """special_tokens_map.json with tokens alone: whatever else stands there would become a setting."""
    content = read_json(folder / SPECIAL)
    tokens = content.items() if isinstance(content, dict) else ()
    return {key: value for key, value in tokens if key.endswith(("_token", "_tokens"))}


def _fill(clean: Path, folder: Path, family: str, settings: dict[str, Any]) -> None:
    """Copy what makes a tokenizer into the folder `clean`."""
    for name in _VOCABULARIES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, clean / name)
    write_json(clean / SETTINGS, settings)
    # Where no class is named, the family names it.
    write_json(clean / "config.json", {"model_type": family})
    if (folder / SPECIAL).is_file():
        write_json(clean / SPECIAL, clean_special(folder))
    if (folder / "added_tokens.json").is_file():
        shutil.copyfile(folder / "added_tokens.json", clean / "added_tokens.json")


def _is_known(name: object) -> bool:
    """Whether transformers has a tokenizer of that name, or none is named."""
    if name is None:
        return True
    found = tokenizer_class_from_name(name) if isinstance(name, str) else None
    return isinstance(found, type) and issubclass(found, PreTrainedTokenizerBase)


def _no_tokenizer(name: str, found: str) -> InputError:
    return InputError(
        "the model has no fast tokenizer",
        where=name,
        found=found,
        expected="tokenizer.json",
        do="use a model that has one, or convert its tokenizer with transformers first",
    )
