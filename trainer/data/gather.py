"""All rows of a recipe's data, and the split that each belongs to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.contract.errors import InputError
from trainer.contract.labels import LabelSpace
from trainer.contract.system.progress import QUIET, Progress
from trainer.data.columns import Columns, Ints
from trainer.data.files.label_cells import LabelReader, ambiguous, spelled_twice
from trainer.data.rows import Row, RowReader, RowsRead
from trainer.data.splitting.allocation import SplitPlan, cut_splits
from trainer.recipes.data_part import DataPart, Source
from trainer.recipes.recipe import LabelsPart, Recipe

NAMES = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The rows of the files given for each split, training rows first."""

    data: DataPart
    given: dict[str, RowsRead]
    columns: Columns
    """What splits are cut by, of all rows, in the order of their ids."""
    names: tuple[str, ...]
    """Names of the labels, given or found in the training rows."""

    @property
    def where(self) -> str:
        """The training files, for messages."""
        return ", ".join(source.shown for source in self.data.train)

    def space(self, part: LabelsPart) -> LabelSpace:
        """The labels. Raises InputError where there is only one, the recipe asks for one that is not there, or two of
        them cannot be told apart.
        """
        if part.names is None and (both := spelled_twice(self.names)):
            raise InputError(
                "two labels are one in two spellings",
                where=self.where,
                # Spelled out: in two Unicode forms they look alike.
                found=" and ".join(map(ascii, both)),
                do="write them alike, join them under labels.mapping, or give labels.names where they differ",
            )
        if part.kind == "multi" and (name := ambiguous(self.names)):
            raise InputError(
                f"the label {name!r} reads like several others together",
                where=self.where,
                found=", ".join(map(repr, self.names)),
                do="give it another name under labels.mapping, or name the separator of its cells: labels.separator",
            )
        try:
            return LabelSpace(names=self.names, kind=part.kind, positive=part.positive)
        except ValueError as error:
            one = len(self.names) < 2
            raise InputError(
                "the rows have one class only" if one else "the labels do not fit",
                where=self.where,
                found=f"only {self.names[0]!r}" if one and self.names else str(error),
                expected="two labels or more" if one else "",
                do="check labels.column and the files" if one else "mend labels in the recipe",
            ) from None


def gather_rows(
    recipe: Recipe,
    data: DataPart,
    space: LabelSpace | None = None,
    *,
    take: Callable[[Row], None],
    keep: bool = False,
    progress: Progress = QUIET,
) -> Gathered:
    """Read every file that `data` names, training rows first, and hand each row to `take`.

    space: the labels of an earlier stage. keep: whether rows keep their records.

    Raises InputError as `RowReader.read` does; what is wrong with single rows is in each part, to be refused.
    """
    sources: dict[str, tuple[Source, ...] | None] = {
        "train": data.train,
        "validation": data.validation,
        "test": data.test,
    }
    names = space.names if space is not None else recipe.labels.names or recipe.labels.columns
    given: dict[str, RowsRead] = {}
    columns = Columns()

    def taken(row: Row) -> None:
        """Look at a row's columns, then hand it on."""
        columns.add(row)
        take(row)

    for name, part in sources.items():
        if part is not None:
            reader = RowReader(
                input=recipe.input.spec(),
                labels=LabelReader(recipe.labels, names),
                split=data.split,
                # Files that are given for evaluation are split already.
                cut=name == "train",
                keep=keep,
                kept=kept_columns(recipe, data),
                # Training rows need them where other splits are cut from them.
                required=recipe.evaluation.columns if name != "train" or shares(data) else (),
            )
            given[name] = reader.read(part, sum(sum(read.read.values()) for read in given.values()), taken, progress)
            _refuse_shared(given, name)
            # Labels of the training rows are all there are: a new one in the splits that follow is an error.
            names = names or tuple(sorted(columns.names() - set(reader.labels.unknown)))
    return Gathered(data=data, given=given, columns=columns, names=names or ())


def kept_columns(recipe: Recipe, data: DataPart) -> tuple[str, ...]:
    """Columns that `evaluate` looks at: the recipe's own, and that of the groups."""
    return tuple(dict.fromkeys([*recipe.evaluation.columns, *filter(None, [recipe.group_column(data)])]))


def _refuse_shared(given: dict[str, RowsRead], name: str) -> None:
    """Raise InputError if a pattern for training files also matches an evaluation file: no figure shows that leak."""
    for other, read in given.items():
        shared = sorted(set(read.read) & set(given[name].read))
        if other != name and shared:
            raise InputError(
                f"a file is named under {other} and under {name}",
                where=shared[0],
                do=f"make the pattern under {other} narrower, or let shares be cut",
            )


def divide(gathered: Gathered, space: LabelSpace, seed: int, wholes: Sequence[str]) -> dict[str, Ints]:
    """Places in `gathered.columns` of each split, in rising order: given files as they are, the rest cut from the rows
    of `train`. wholes: the texts of those rows.
    """
    start = 0
    places: dict[str, Ints] = {}
    for name, part in gathered.given.items():
        places[name] = np.arange(start, start + part.rows)
        start += part.rows
    split, stop = gathered.data.split, gathered.given["train"].rows
    plan = SplitPlan(
        shares=shares(gathered.data),
        taken=gathered.columns.keys[stop:],
        stratify=space if split.stratify else None,
        seed=split.seed if split.seed is not None else seed,
        by_time=split.time is not None,
        wholes=wholes if split.similar else None,
    )
    places |= cut_splits(gathered.columns, stop, plan)
    return {name: _some(places[name], gathered.data.limit, plan.seed) for name in NAMES if name in places}


def _some(places: Ints, limit: int | None, seed: int) -> Ints:
    """At most `limit` of them, in their order."""
    if limit is None or len(places) <= limit:
        return places
    # After the splits are made, so that a trial on few rows measures on rows of the whole run's test split.
    return np.sort(np.random.default_rng(seed).choice(places, limit, replace=False))


def shares(data: DataPart) -> dict[str, float]:
    """The shares to cut from `train`: none for a split that has files."""
    wanted = {
        "validation": data.split.validation if data.validation is None else 0.0,
        "test": data.split.test if data.test is None else 0.0,
    }
    return {name: share for name, share in wanted.items() if share > 0}
