"""A recipe: all that a run is, in one YAML file.

Where it runs (processes, precision) is the launch config's business.
"""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.contract.encoding import EncodingPolicy
from trainer.contract.errors import nearest
from trainer.contract.inputs import InputSpec
from trainer.contract.metrics import METRICS
from trainer.recipes.data_part import DataPart
from trainer.recipes.sweep_part import SweepPart


@dataclass(frozen=True, kw_only=True)
class ModelPart:
    """The encoder. name: a hub name, a local folder, or `pkg://package/folder` for one that a Python package carries.

    A local folder is named relative to the recipe.
    sha256: what `model.safetensors` must hash to; checked before it is loaded.
    dropout: replaces the encoder's own dropout rates where given.
    head: what becomes of the head of a published classifier. "auto" keeps it where its labels have the recipe's names,
        in whatever order; "keep" also where they are only as many; "new" draws another.
    """

    name: str
    sha256: str | None = None
    dropout: float | None = None
    head: Literal["keep", "new", "auto"] = "auto"


@dataclass(frozen=True, kw_only=True)
class InputPart(InputSpec):
    """`InputSpec`, and how many tokens of the text are read (see EncodingPolicy)."""

    max_tokens: int = 256
    truncation: Literal["head", "tail", "head_tail"] = "head"
    head_tokens: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.policy()

    def policy(self, pad_id: int = 0, pad_type_id: int = 0) -> EncodingPolicy:
        """The part of it that turns text into tokens."""
        return EncodingPolicy(
            max_tokens=self.max_tokens,
            truncation=self.truncation,
            head_tokens=self.head_tokens,
            pad_id=pad_id,
            pad_type_id=pad_type_id,
        )

    def spec(self) -> InputSpec:
        """The part of it that turns a record into text."""
        return InputSpec(**{field.name: getattr(self, field.name) for field in dataclasses.fields(InputSpec)})


@dataclass(frozen=True, kw_only=True)
class LabelsPart:
    """Where the labels stand: in one column, or for kind "multi" also in `columns`, one a label, true or false each.

    names: their order; sorted as they are found where None. With `columns`: their names, where not the columns' own.
    separator: between the labels of one cell, for kind "multi". mapping: spelling in the file to label name.
    positive: the label whose precision, recall and F1 are reported; the second name where None.
    """

    column: str | None = None
    columns: tuple[str, ...] | None = None
    kind: Literal["single", "multi"] = "single"
    separator: str | None = None
    names: tuple[str, ...] | None = None
    mapping: dict[str, str] = field(default_factory=dict)
    positive: str | None = None

    def __post_init__(self) -> None:
        if (self.column is None) == (self.columns is None):
            raise ValueError("expected either column or columns")
        if self.kind == "single" and (self.columns is not None or self.separator is not None):
            raise ValueError("columns and separator are for kind: multi")
        if self.columns is not None and self.names is not None and len(self.names) != len(self.columns):
            raise ValueError(f"names: expected {len(self.columns)}, one a column, found {len(self.names)}")
        for name in () if self.names is None else (*self.mapping.values(), *filter(None, [self.positive])):
            if name not in (self.names or ()):
                raise ValueError(f"{name!r} is not one of the names; {nearest(name, self.names or ())}".rstrip("; "))


@dataclass(frozen=True, kw_only=True)
class BatchPart:
    """rows: of one optimizer step, whatever the number of processes. tokens: padded tokens of one micro-batch
    (memory).
    """

    rows: int = 32
    tokens: int = 4096

    def __post_init__(self) -> None:
        if self.rows < 1 or self.tokens < 1:
            raise ValueError("expected rows and tokens of at least 1")


@dataclass(frozen=True, kw_only=True)
class OptimizerPart:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101). warmup: a share of the stage's steps below 1, else
    steps. layer_decay: what each layer's learning rate is multiplied by, from the one above it.
    """

    learning_rate: float = 2.0e-5
    weight_decay: float = 0.01
    betas: tuple[float, ...] = (0.9, 0.999)
    epsilon: float = 1.0e-8
    warmup: float = 0.1
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    clip_norm: float | None = 1.0
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate: expected a positive number, found {self.learning_rate}")
        if self.warmup < 0 or len(self.betas) != 2:
            raise ValueError("expected a warmup of at least 0 and two betas")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay: expected above 0 and at most 1, found {self.layer_decay}")


@dataclass(frozen=True, kw_only=True)
class LossPart:
    """Cross-entropy for single labels, binary cross-entropy for multi-label.

    weights: "balanced" (inverse label frequency; for multi-label the positives of each label), or one number a label by
        name, 1 for a label that is not named.
    label_smoothing: share of the target spread over all labels (Szegedy et al. 2016, arXiv 1512.00567).
    focal: gamma of the focal loss, which plays down rows that are right already (Lin et al. 2017, arXiv 1708.02002).
    """

    weights: Literal["balanced"] | dict[str, float] | None = None
    label_smoothing: float = 0.0
    focal: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1 or self.focal < 0:
            raise ValueError("expected label_smoothing from 0 to below 1, and focal of at least 0")


def _check_patterns(key: str, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{key}: {pattern!r} is no regular expression ({error})") from None


@dataclass(frozen=True, kw_only=True)
class FreezePart:
    """What does not learn: the embeddings, all encoder layers but the last `keep_last_layers`, and the weights whose
    names, as in `model.safetensors`, hold one of the `patterns` (regular expressions).

    cache: run frozen layers at the network's start once, and keep what they make of the rows on disk for the stage.
    """

    embeddings: bool = False
    keep_last_layers: int | None = None
    patterns: tuple[str, ...] = ()
    cache: bool = True

    def __post_init__(self) -> None:
        if self.keep_last_layers is not None and self.keep_last_layers < 0:
            raise ValueError(f"keep_last_layers: expected at least 0, found {self.keep_last_layers}")
        _check_patterns("patterns", self.patterns)


@dataclass(frozen=True, kw_only=True)
class LoraPart:
    """Low-rank adapters in place of the encoder's own weights. Needs the extra `lora` (peft).

    rank: of the matrices; alpha: their product counts alpha / rank; dropout: before them. targets: regular expressions
        of the ends of the linear layers' names; all of the encoder's layers that are not frozen where not given.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = (".*",)

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0 <= self.dropout < 1:
            raise ValueError("expected a rank of at least 1, and a dropout from 0 to below 1")
        _check_patterns("targets", self.targets)


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingPart:
    """Stop a stage after `patience` evaluations in a row without a gain of more than `min_delta`."""

    patience: int = 3
    min_delta: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One fit, from the best checkpoint of the stage before. data: its own rows, where they are not the recipe's.

    evaluate_every: optimizer steps between evaluations; once an epoch where None. gradient_checkpointing: compute the
        layers again in the backward pass instead of keeping what they need for it: less memory, about a third slower.
    """

    epochs: int = 3
    data: DataPart | None = None
    batch: BatchPart = field(default_factory=BatchPart)
    optimizer: OptimizerPart = field(default_factory=OptimizerPart)
    loss: LossPart = field(default_factory=LossPart)
    freeze: FreezePart = field(default_factory=FreezePart)
    lora: LoraPart | None = None
    gradient_checkpointing: bool = False
    early_stopping: EarlyStoppingPart | None = None
    evaluate_every: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or (self.evaluate_every is not None and self.evaluate_every < 1):
            raise ValueError("expected epochs and evaluate_every of at least 1")


@dataclass(frozen=True, kw_only=True)
class SelectPart:
    """metric: what makes a checkpoint the best, on validation. keep: how many of the best stay on disk."""

    metric: str = "f1_macro"
    keep: int = 2

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            hint = nearest(self.metric, METRICS) or f"metrics: {', '.join(METRICS)}"
            raise ValueError(f"metric: unknown metric {self.metric!r}; {hint}")
        if self.keep < 1:
            raise ValueError(f"keep: expected at least 1, found {self.keep}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe. seed: of the new weights, the order of rows and dropout."""

    model: ModelPart
    data: DataPart
    input: InputPart
    labels: LabelsPart
    name: str = "classifier"
    seed: int = 42
    stages: tuple[Stage, ...] = (Stage(),)
    select: SelectPart = field(default_factory=SelectPart)
    tracking: tuple[str, ...] = ()
    sweep: SweepPart | None = None

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("stages: expected at least one")
        for key, metric in (("select", self.select.metric), ("sweep", self.sweep and self.sweep.metric)):
            if self.labels.kind == "multi" and metric in ("precision", "recall", "f1", "mcc"):
                raise ValueError(
                    f"{key}.metric: {metric} is of one label; use f1_micro or f1_macro for multi-label rows"
                )

    def plain(self) -> dict[str, Any]:
        """The recipe as JSON-like values: what the run keeps, and what a resume is compared with."""
        return {name: _plain(value) for name, value in dataclasses.asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
