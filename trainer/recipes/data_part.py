"""The data part of a recipe: files and data sets, and how their rows are divided."""

from dataclasses import dataclass, field
from typing import Literal

from trainer.contract.schema import bounded


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files that are written alike, or a data set of the `datasets` library."""

    files: tuple[str, ...] = ()
    """Names or globs, relative to the recipe; .gz, .bz2, .xz and .zst are read as they are."""
    format: Literal["csv", "tsv", "json", "jsonl", "parquet", "xlsx"] | None = None
    """By the file's suffix if None."""
    delimiter: str | None = None
    """A comma for .csv and a tab for .tsv if None."""
    header: bool = True
    """Whether the first line names the columns; if not, `columns` does."""
    columns: tuple[str, ...] | None = None
    """The names of the columns of a file without header."""
    quoting: Literal["minimal", "none"] = "minimal"
    """With "minimal" a field may stand in double quotes; with "none" quotes are characters."""
    encoding: str = "utf-8"
    """As Python names it."""
    sheet: str | None = None
    """The sheet of a workbook; its first if None."""
    dataset: str | None = None
    """A name on the hub, or a folder that `save_to_disk` wrote or that holds data files."""
    subset: str | None = None
    """Of the data set; the hub also calls it configuration."""
    split: str = "train"
    """Of the data set: which of its splits is read."""
    revision: str | None = None
    """Of the data set: a branch, a tag or a commit of its repository."""
    rename: dict[str, str] = field(default_factory=dict)
    """Column in the file to column in the recipe."""
    constant: dict[str, str] = field(default_factory=dict)
    """Columns with one value for every row."""

    def __post_init__(self) -> None:
        if bool(self.files) == (self.dataset is not None):
            raise ValueError("expected either files (at least one) or dataset")
        if self.header == (self.columns is not None):
            raise ValueError("columns: expected exactly where header is false")
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ValueError(f"delimiter: expected one character, found {self.delimiter!r}")

    @property
    def shown(self) -> str:
        """The source in messages."""
        return self.dataset or ", ".join(self.files)


@dataclass(frozen=True, kw_only=True)
class SplitPart:
    """Shares of the rows to hold out of `train`, 0 to 1; a share is left aside for a split that has files."""

    validation: float = bounded(0.1, least=0, below=1)
    """The share whose rows choose the checkpoint, and prove an export."""
    test: float = bounded(0.0, least=0, below=1)
    """The share that `evaluate` alone looks at."""
    stratify: bool = True
    """Keep the shares of the labels in every split."""
    group: str | None = None
    """A column whose values never occur in two splits."""
    similar: bool = False
    """Keep nearly equal texts on one side too, and not only exact repeats."""
    time: str | None = None
    """A column by which the newest rows become the test split, the next ones validation; then labels are not balanced.
    """
    time_format: str | None = None
    """The times' format for strptime, if they are not ISO 8601."""
    seed: int | None = bounded(None, least=0, below=2**63)
    """What rows are drawn with; the recipe's seed if None."""

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise ValueError(f"expected shares that leave rows to train on, found {self.validation} and {self.test}")
        if self.group is not None and self.time is not None:
            raise ValueError("expected group or time: a group may lie on both sides of a moment")
        if self.time_format is not None and self.time is None:
            raise ValueError("time_format: expected time, the column it is of")


@dataclass(frozen=True, kw_only=True)
class DataPart:
    """The labelled rows: files for each split, or shares to cut from `train`. Exact repeats stay on one side."""

    train: tuple[Source, ...]
    validation: tuple[Source, ...] | None = None
    """None: `split` cuts them from `train`."""
    test: tuple[Source, ...] | None = None
    """None: the same; no test rows where its share is 0."""
    split: SplitPart = field(default_factory=SplitPart)
    """How rows are cut from `train`, for what has no files of its own."""
    limit: int | None = bounded(None, least=2)
    """At most so many rows of each split, drawn at random after it is made: to try a recipe out."""

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("train: expected at least one source")
        if self.validation is None and self.split.validation == 0:
            raise ValueError("expected validation files, or split.validation above 0: they choose the checkpoint")
