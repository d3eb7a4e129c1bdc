"""A recipe: all that a run is, in one YAML file.

Where it runs (processes, precision) is the launch config's business.
"""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.contract.encoding import EncodingPolicy
from trainer.contract.errors import nearest
from trainer.contract.figures.metrics import METRICS
from trainer.contract.inputs import InputSpec
from trainer.contract.schema import bounded
from trainer.recipes.data_part import DataPart
from trainer.recipes.decisions_part import DecisionsPart
from trainer.recipes.evaluation_part import EvaluationPart
from trainer.recipes.sweep_part import SweepPart


@dataclass(frozen=True, kw_only=True)
class ModelPart:
    """The encoder.

    A local folder is named relative to the recipe.
    """

    name: str
    """A hub name, a local folder, or `pkg://package/folder` for one that a Python package carries."""
    sha256: str | None = None
    """What `model.safetensors` must hash to; checked before it is loaded."""
    dropout: float | None = bounded(None, least=0, below=1)
    """Replaces the encoder's own dropout rates where given."""
    head: Literal["keep", "new", "auto"] = "auto"
    """What becomes of the head of a published classifier. "auto" keeps it where its labels have the recipe's names, in
    whatever order; "keep" also where they are only as many; "new" draws another.
    """
    head_bias: Literal["shares", "zero"] = "shares"
    """Where a new head's biases start: at the label shares of the training rows, so that no step is spent on learning
    them through the whole encoder (Lin et al. 2017, arXiv 1708.02002, section 4.1), or at zero.
    """


@dataclass(frozen=True, kw_only=True)
class InputPart(InputSpec):
    """`InputSpec`, and how many tokens of the text are read (see EncodingPolicy)."""

    max_tokens: int = 256
    """The most tokens of a row, special ones included."""
    truncation: Literal["head", "tail", "head_tail"] = "head"
    """Which tokens of a longer row stay."""
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
    """Where the labels stand: in one column, or in several."""

    column: str | None = None
    """The column of the label, or of a cell's labels."""
    columns: tuple[str, ...] | None = None
    """One a label, true or false each, for kind "multi"; in place of `column`."""
    kind: Literal["single", "multi"] = "single"
    """Whether a row has one label, or any number of them."""
    separator: str | None = None
    """Between the labels of one cell, for kind "multi"."""
    names: tuple[str, ...] | None = None
    """Their order; sorted as they are found where None. With `columns`: their names, where not the columns' own."""
    mapping: dict[str, str] = field(default_factory=dict)
    """Spelling in the file to label name."""
    positive: str | None = None
    """The label whose precision, recall and F1 are reported; the second name where None."""

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
    """How many rows a step takes, and how they are cut to fit the memory."""

    rows: int = bounded(32, least=1)
    """Rows of one optimizer step, whatever the number of processes."""
    tokens: int = bounded(4096, least=1)
    """Padded tokens of one micro-batch; it bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class OptimizerPart:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    learning_rate: float = bounded(2.0e-5, above=0, most=1)
    """The highest, which the warm-up ends at."""
    weight_decay: float = bounded(0.01, least=0)
    betas: tuple[float, ...] = bounded((0.9, 0.999), least=0, below=1)
    epsilon: float = bounded(1.0e-8, least=1e-30)
    """At 0, which smaller numbers are in fp32, a weight without a gradient would be divided by 0."""
    warmup: float = bounded(0.1, least=0)
    """A share of the stage's steps below 1, else steps."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the rate goes on from there: to 0, in a line or a cosine, or not at all."""
    clip_norm: float | None = bounded(1.0, above=0)
    """The gradient's largest norm; null for no bound."""
    layer_decay: float = bounded(1.0, above=0, most=1)
    """What each layer's learning rate is multiplied by, from the one above it."""

    def __post_init__(self) -> None:
        if len(self.betas) != 2:
            raise ValueError(f"betas: expected two numbers, found {list(self.betas)}")
        if self.warmup > 1 and not self.warmup.is_integer():
            raise ValueError(f"warmup: expected a share below 1 or whole steps, found {self.warmup}")


@dataclass(frozen=True, kw_only=True)
class LossPart:
    """Cross-entropy for single labels, binary cross-entropy for multi-label."""

    weights: Literal["balanced"] | dict[str, float] | None = bounded(None, least=1e-6, most=1e6)
    """Either "balanced" (inverse label frequency; for multi-label the positives of each label), or one number a label
    by name, 1 for a label that is not named.
    """
    label_smoothing: float = bounded(0.0, least=0, below=1)
    """Share of the target spread over all labels (Szegedy et al. 2016, arXiv 1512.00567)."""
    focal: float = bounded(0.0, least=0, most=100)
    """Gamma of the focal loss, which plays down rows that are right already (Lin et al. 2017, arXiv 1708.02002)."""


def _check_patterns(key: str, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{key}: {pattern!r} is no regular expression ({error})") from None


@dataclass(frozen=True, kw_only=True)
class FreezePart:
    """What does not learn."""

    embeddings: bool = False
    """Whether the embeddings do not."""
    keep_last_layers: int | None = bounded(None, least=0)
    """All encoder layers but so many last ones do not. None: all learn."""
    patterns: tuple[str, ...] = ()
    """Nor do weights whose names, as in `model.safetensors`, hold one of these regular expressions."""
    cache: bool = True
    """Run frozen layers at the network's start once, and keep what they make of the rows on disk for the stage."""

    def __post_init__(self) -> None:
        _check_patterns("patterns", self.patterns)


@dataclass(frozen=True, kw_only=True)
class LoraPart:
    """Low-rank adapters in place of the encoder's own weights. Needs the extra `lora` (peft)."""

    rank: int = bounded(8, least=1)
    """The rank of the two matrices."""
    alpha: float = bounded(16.0, above=0)
    """Their product counts alpha / rank."""
    dropout: float = bounded(0.0, least=0, below=1)
    """The dropout before them."""
    targets: tuple[str, ...] = (".*",)
    """Regular expressions of the ends of the linear layers' names; all of the encoder's layers that are not frozen
    where not given.
    """

    def __post_init__(self) -> None:
        _check_patterns("targets", self.targets)


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingPart:
    """When a stage ends before its last epoch."""

    patience: int = bounded(3, least=1)
    """After so many evaluations in a row without a gain."""
    min_delta: float = bounded(0.0, least=0)
    """A gain is an improvement of the selected metric by more than this."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One fit, from the best checkpoint of the stage before."""

    epochs: int = bounded(3, least=1)
    data: DataPart | None = None
    """Its own rows, where they are not the recipe's."""
    batch: BatchPart = field(default_factory=BatchPart)
    optimizer: OptimizerPart = field(default_factory=OptimizerPart)
    loss: LossPart = field(default_factory=LossPart)
    freeze: FreezePart = field(default_factory=FreezePart)
    lora: LoraPart | None = None
    gradient_checkpointing: bool = False
    """Compute the layers again in the backward pass instead of keeping what they need for it: less memory, about a
    third slower.
    """
    early_stopping: EarlyStoppingPart | None = None
    evaluate_every: int | None = bounded(None, least=1)
    """Optimizer steps between evaluations; once an epoch where None."""


@dataclass(frozen=True, kw_only=True)
class SelectPart:
    """Which checkpoints are kept, and which of them is the best."""

    metric: str = "f1_macro"
    """What makes a checkpoint the best, on validation."""
    keep: int = bounded(2, least=1)
    """How many of the best stay on disk."""

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            hint = nearest(self.metric, METRICS) or f"metrics: {', '.join(METRICS)}"
            raise ValueError(f"metric: unknown metric {self.metric!r}; {hint}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe."""

    model: ModelPart
    data: DataPart
    input: InputPart
    labels: LabelsPart
    name: str = "classifier"
    """What messages and trackers call it."""
    seed: int = bounded(42, least=0, below=2**63)
    """It decides the new weights, the order of rows and dropout."""
    stages: tuple[Stage, ...] = (Stage(),)
    select: SelectPart = field(default_factory=SelectPart)
    decisions: DecisionsPart | None = None
    """What `classifact decide` fits on the validation rows when training is done; nothing where None."""
    evaluation: EvaluationPart = field(default_factory=EvaluationPart)
    tracking: tuple[str, ...] = ()
    """Trackers to start, of tensorboard, wandb, mlflow and trackio; `metrics.jsonl` is always written."""
    sweep: SweepPart | None = None

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("stages: expected at least one")
        for key, metric in (("select", self.select.metric), ("sweep", self.sweep and self.sweep.metric)):
            if self.labels.kind == "multi" and metric in ("precision", "recall", "f1", "mcc"):
                raise ValueError(
                    f"{key}.metric: {metric} is of one label; use f1_micro or f1_macro for multi-label rows"
                )

    @property
    def metrics(self) -> dict[str, str]:
        """The metrics that choose, by the key that names each."""
        own = {"select.metric": self.select.metric}
        return own if self.sweep is None or self.sweep.metric is None else own | {"sweep.metric": self.sweep.metric}

    @property
    def measured_data(self) -> DataPart:
        """The rows of the last stage: those that `evaluate` measures on."""
        return self.stages[-1].data or self.data

    def group_column(self, data: DataPart) -> str | None:
        """The column of the groups that figures get intervals by, if any."""
        return self.evaluation.group or data.split.group

    def plain(self) -> dict[str, Any]:
        """The recipe as JSON-like values: what the run keeps, and what a resume is compared with."""
        return {name: _plain(value) for name, value in dataclasses.asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
