"""A model folder's config.json: read as plain JSON, judged, and only then made into a configuration object.

transformers takes more from that file than sizes: names of modules to import, folders to open, code to run in place of
attention (CVE-2026-5241, CVE-2026-4372). So nothing of transformers sees the file itself.
"""

import importlib
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from trainer.contract.errors import InputError, nearest
from trainer.contract.lanes import other_lane
from trainer.contract.system.files import read_json

# Families with a head that reads more than text: page layouts, mark-up, tables, bytes, proteins.
_NOT_TEXT = {
    "canine",
    "esm",
    "esmc",
    "layoutlm",
    "layoutlmv2",
    "layoutlmv3",
    "lilt",
    "markuplm",
    "perceiver",
    "tapas",
}
_REFUSED = {
    "auto_map": "it names Python code to run",
    "trust_remote_code": "it asks for Python code to be run",
    "custom_pipelines": "it names Python code to run",
    "quantization_config": "the weights are quantized, and quantized weights cannot be fine-tuned",
}
# Written by transformers into ordinary folders, and of no use here.
_METADATA = {
    "__type",
    "_name_or_path",
    "_commit_hash",
    "_num_labels",
    "_attn_implementation_autoset",
    "_flash_attn_2_enabled",
}
# What is ours to say (labels, precision, attention, what is kept for the backward pass), or is about the file itself.
_OURS = {
    "model_type",
    "transformers_version",
    "architectures",
    "num_labels",
    "id2label",
    "label2id",
    "problem_type",
    "dtype",
    "torch_dtype",
    "attn_implementation",
    "experts_implementation",
    "fusion_config",
    "transformers_weights",
    "gradient_checkpointing",
    "name_or_path",
    "return_dict",
    "torchscript",
    "output_attentions",
    "output_hidden_states",
}
_LABEL_MAPS = ("id2label", "label2id")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a config.json says, as plain values."""

    path: Path
    """The file."""
    family: str
    """Its model_type, one that has a head for text classification."""
    settings: dict[str, Any]
    """What the family's configuration class is called with."""
    labels: tuple[str, ...] | None
    """Names of the labels in the order of the head's rows; None where it names none or generic ones (LABEL_0)."""
    written_by: str
    """The version of transformers that wrote it, "" where it does not say."""

    @classmethod
    def read(cls, folder: Path) -> "ModelConfig":
        """Read and judge `folder/config.json`.

        Raises InputError, naming the key and the reason, where it asks for more than a text classifier's sizes, and
        ArtifactError where it is missing or no JSON.
        """
        path = folder / "config.json"
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
            raise InputError("config.json names no model_type", where=path, do="use the folder of a transformers model")
        family, written_by = content["model_type"], content.get("transformers_version")
        written_by = written_by if isinstance(written_by, str) else ""
        _check_family(family, path, written_by)
        refuse_keys({key: value for key, value in content.items() if key not in _LABEL_MAPS}, path, family)
        left_out = {*_OURS, *_REFUSED, *_METADATA}
        settings = {key: value for key, value in content.items() if key not in left_out}
        return cls(
            path=path,
            family=family,
            settings=settings,
            labels=_labels(content.get("id2label")),
            written_by=written_by,
        )

    def build(self, label_settings: dict[str, Any], *, skip: frozenset[str] = frozenset()) -> tuple[Any, list[str]]:
        """The configuration object, and the keys that its class does not know, which change nothing in it.

        label_settings: id2label and the like. skip: keys to leave out. Raises InputError where the class refuses the
        values.
        """
        settings = {key: value for key, value in self.settings.items() if key not in skip}
        kind: Any = CONFIG_MAPPING[self.family]
        functions = [key for key in settings if callable(getattr(kind, key, None))]
        if functions:
            raise InputError(
                "config.json has the name of a function of transformers, which would be lost",
                where=self.path,
                found=", ".join(functions),
                do="take the key out; no published model needs it",
            )
        try:
            if settings.get("pruned_heads"):
                # JSON has no whole numbers as keys.
                settings["pruned_heads"] = {int(layer): heads for layer, heads in settings["pruned_heads"].items()}
            config = kind(**settings, **label_settings, attn_implementation=attention(self.family))
        except Exception as error:
            # Each family's class checks its values in its own way.
            raise InputError(
                "config.json cannot be used",
                where=self.path,
                found=told(error, kind, settings),
                do="use the folder as its authors published it",
            ) from error
        return config, _unknown(config, settings)


def told(error: Exception, kind: Any, values: Mapping[str, Any]) -> str:
    """An error of transformers or torch in a line, after the values that it likely comes from: those of another type
    than a configuration of this kind has by default, NaN, and sizes that are none.
    """
    usual = vars(kind())
    odd = [
        f"{key}: {value!r} (by default {usual[key]!r})"
        for key, value in values.items()
        if _is_odd(value, usual.get(key))
    ]
    return " ".join("; ".join([*odd[:3], f"{type(error).__name__}: {error}"]).split())[:300]


def network_class(family: str) -> Any:
    """The class of a family's network with a classification head."""
    return MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[CONFIG_MAPPING[family]]


def attention(family: str) -> str:
    """Which of torch's own attentions the family's network runs: said by us, so that no file says it."""
    return "sdpa" if getattr(network_class(family), "_supports_sdpa", False) else "eager"


def refuse_keys(content: dict[str, Any], path: Path, family: str | None = None) -> None:
    """Raise InputError for a key that asks for code, or for another model's folder. family: that the file is of."""
    for key, value, deep in _walk(content):
        reason = _REFUSED.get(key)
        if key.startswith("_") and key not in _METADATA:
            reason = "it is a private setting of transformers, which no published model needs"
        if key == "_name_or_path" and deep:
            reason = "it names another folder to open"
        if key == "model_type" and deep and value != family:
            reason = f"it holds a model of another kind ({value!r})"
        # An empty value asks for nothing; such keys go no further (`ModelConfig.read`, `clean_settings`).
        if reason is not None and (value or key not in _REFUSED):
            raise InputError(
                f"the model is not opened: {path.name} has the key {key!r}, and {reason}",
                where=path,
                found=f"{key}: {value!r}"[:200],
                do="use a model that needs no code of its own, or take the key out if you know that it is not needed",
            )


def _walk(content: Any, *, deep: bool = False) -> Iterator[tuple[str, Any, bool]]:
    """Every key with its value, at any depth. deep: below the file's own keys."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield str(key), value, deep
            yield from _walk(value, deep=True)
    elif isinstance(content, list):
        for value in content:
            yield from _walk(value, deep=True)


def _is_odd(value: object, default: object) -> bool:
    if isinstance(default, bool | str) or not isinstance(default, int | float):
        return default is not None and not isinstance(value, type(default))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return not math.isfinite(value) or (isinstance(default, int) and value <= 0 < default)


def _check_family(family: str, path: Path, written_by: str) -> None:
    known = [name for name in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES if name not in _NOT_TEXT]
    # A configuration that holds others is of several modalities.
    if family in known and not getattr(CONFIG_MAPPING[family], "sub_configs", {}):
        return
    raise InputError(
        f"models of the family {family!r} cannot classify text here",
        where=path,
        expected="a family with a head for text classification, such as bert, roberta, deberta-v2 or modernbert",
        do=other_lane(transformers.__version__, written_by=written_by, family=family)
        or nearest(family, known)
        or f"choose another encoder, or a version of transformers that knows it (here: {transformers.__version__})",
    )


def _labels(names: object) -> tuple[str, ...] | None:
    """id2label in the order of its numbers; None where it is none, has gaps, or is generic."""
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        return None
    found = [names.get(str(number)) for number in range(len(names))]
    if None in found or len(set(found)) < len(found) or found == [f"LABEL_{number}" for number in range(len(found))]:
        return None
    return tuple(map(str, found))


def _unknown(config: Any, settings: dict[str, Any]) -> list[str]:
    """The settings that the configuration only keeps: no parameter of its class, nothing that a default one has, no
    older spelling that its class reads (transformers 5 turns ModernBERT's `global_attn_every_n_layers` into
    `layer_types`), and nothing that the network's source asks it for (DeBERTa asks for `norm_rel_ebd`, which its class
    does not know).
    """
    # Settings of text generation stand in many folders, and no classifier reads them.
    known = {*config.attribute_map, *vars(type(config)()), *vars(transformers.GenerationConfig())}
    for kind in type(config).__mro__:
        # Each class that this one inherits from takes its own keys and passes the rest on.
        known.update(inspect.signature(kind).parameters)
    doubtful = [key for key in settings if key in vars(config) and key not in known]
    if not doubtful:
        return []
    source = inspect.getsource(type(config)) + _network_source(config.model_type)
    reads = r"config\.{0}\b|getattr\([\w.]*config, *['\"]{0}['\"]|kwargs\.(?:get|pop)\(['\"]{0}['\"]"
    return sorted(key for key in doubtful if not re.search(reads.format(re.escape(key)), source))


def _network_source(family: str) -> str:
    """The text of the modules that a family's network is written in, and of those that all families share."""
    modules = {inspect.getmodule(kind) for kind in network_class(family).__mro__}
    shared = [importlib.import_module(f"transformers.{name}") for name in ("modeling_rope_utils", "masking_utils")]
    ours = [module for module in (*modules, *shared) if module and module.__name__.startswith("transformers.")]
    return "\n".join(map(inspect.getsource, ours))
