"""Model folders that try to run code or to write outside of themselves, and the canary file that shows it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def change(folder: Path, name: str, **keys: Any) -> None:
    """Put keys into a JSON file of a folder."""
    path = folder / name
    content = json.loads(path.read_bytes()) if path.exists() else {}
    path.write_text(json.dumps({**content, **keys}), encoding="utf-8")


def code(folder: Path, canary: Path) -> Path:
    """A folder with a Python file that makes the canary when it is imported, whatever is asked of it."""
    folder.mkdir()
    (folder / "code.py").write_text(
        f"from pathlib import Path\nPath({str(canary)!r}).touch()\n"
        "from transformers import BertConfig, BertTokenizerFast\n"
        "class Config(BertConfig):\n    model_type = 'evil'\n"
        "class Tokenizer(BertTokenizerFast):\n    pass\n",
        encoding="utf-8",
    )
    change(folder, "config.json", model_type="evil", auto_map={"AutoConfig": "code.Config"})
    return folder


def lightglue(model: Path, canary: Path) -> None:
    """CVE-2026-5241: a nested configuration names a folder, and brings its own leave to run what is there."""
    evil = code(model.parent / "evil", canary)
    detector = {"model_type": "evil", "_name_or_path": str(evil)}
    content = {"model_type": "lightglue", "trust_remote_code": True, "keypoint_detector_config": detector}
    (model / "config.json").write_text(json.dumps(content), encoding="utf-8")


def nested(model: Path, canary: Path) -> None:
    """The same in a folder that says it is an ordinary encoder."""
    evil = code(model.parent / "evil", canary)
    change(model, "config.json", detector={"model_type": "evil", "_name_or_path": str(evil)})


def auto_map(model: Path, canary: Path) -> None:
    """Code beside the weights, for the configuration and for the tokenizer."""
    evil = code(model.parent / "evil", canary)
    (model / "code.py").write_bytes((evil / "code.py").read_bytes())
    change(model, "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "code.Tokenizer"]})


def kernels(model: Path, canary: Path) -> None:
    """CVE-2026-4372: the attention to use is a package to import."""
    del canary
    change(model, "config.json", _attn_implementation_internal="evil/kernel")


REFUSED: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "lightglue": (lightglue, "lightglue"),
    "nested": (nested, "model_type"),
    "auto_map": (auto_map, "auto_map"),
    "kernels": (kernels, "_attn_implementation_internal"),
}


def template(model: Path, canary: Path) -> None:
    """CVE-2026-9856: names of chat templates become names of files.

    They count from a folder in the one that the tokenizer is saved in: so far up leads to the root.
    """
    name = "../" * 30 + str(canary.with_suffix("")).lstrip("/")
    templates = [{"name": name, "template": "gotcha"}, {"name": "default", "template": "x"}]
    change(model, "tokenizer_config.json", chat_template=templates)
    change(model, "special_tokens_map.json", chat_template=templates)
