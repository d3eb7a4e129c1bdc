"""All rows of a recipe's data, and the split that each belongs to."""

from dataclasses import dataclass

import numpy as np

from trainer.contract.errors import InputError
from trainer.contract.labels import LabelSpace
from trainer.data.allocation import Plan, cut
from trainer.data.label_cells import LabelReader
from trainer.data.rows import Row, RowReader, RowsRead
from trainer.recipes.data_part import DataPart, Source
from trainer.recipes.recipe import LabelsPart, Recipe

NAMES = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The rows of the files given for each split. names: of the labels, given or found in the training rows."""

    data: DataPart
    given: dict[str, RowsRead]
    names: tuple[str, ...]

    @property
    def rows(self) -> list[Row]:
        """The rows of all files, in the order of their ids."""
        return [row for read in self.given.values() for row in read.rows]

    @property
    def where(self) -> str:
        """The training files, for messages."""
        return ", ".join(source.shown for source in self.data.train)

    def space(self, part: LabelsPart) -> LabelSpace:
        """The labels. Raises InputError where there is only one, or the recipe asks for one that is not there."""
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


def gather(recipe: Recipe, data: DataPart, space: LabelSpace | None = None, *, keep: bool = False) -> Gathered:
    """Read every file that `data` names, training rows first. space: the labels of an earlier stage.

    Raises InputError as `RowReader.read` does; what is wrong with single rows is in each part, to be refused.
    """
    sources: dict[str, tuple[Source, ...] | None] = {
        "train": data.train,
        "validation": data.validation,
        "test": data.test,
    }
    names = space.names if space is not None else recipe.labels.names or recipe.labels.columns
    given: dict[str, RowsRead] = {}
    for name, part in sources.items():
        if part is not None:
            reader = RowReader(
                input=recipe.input.spec(),
                labels=LabelReader(recipe.labels, names),
                split=data.split,
                # Files that are given for evaluation are split already.
                cut=name == "train",
                keep=keep,
            )
            given[name] = reader.read(part, sum(sum(read.read.values()) for read in given.values()))
            _refuse_shared(given, name)
            found = {label for row in given[name].rows for label in row.labels} - set(reader.labels.unknown)
            names = names or tuple(sorted(found))
    return Gathered(data=data, given=given, names=names or ())


def _refuse_shared(given: dict[str, RowsRead], name: str) -> None:
    """A pattern for training files that takes the test file along is a leak that no figure shows."""
    for other, read in given.items():
        shared = sorted(set(read.read) & set(given[name].read))
        if other != name and shared:
            raise InputError(
                f"a file is named under {other} and under {name}",
                where=shared[0],
                do=f"make the pattern under {other} narrower, or let shares be cut",
            )


def divide(gathered: Gathered, space: LabelSpace, seed: int) -> dict[str, list[int]]:
    """Places in `gathered.rows` of each split: given files as they are, the rest cut from the rows of `train`."""
    start = 0
    places: dict[str, list[int]] = {}
    for name, part in gathered.given.items():
        places[name] = list(range(start, start + len(part.rows)))
        start += len(part.rows)
    split = gathered.data.split
    plan = Plan(
        shares=shares(gathered.data),
        taken={row.key for name, part in gathered.given.items() if name != "train" for row in part.rows},
        stratify=space if split.stratify else None,
        seed=split.seed if split.seed is not None else seed,
        by_time=split.time is not None,
        similar=split.similar,
    )
    places |= cut(gathered.given["train"].rows, plan)
    return {name: _some(places[name], gathered.data.limit, plan.seed) for name in NAMES if name in places}


def _some(places: list[int], limit: int | None, seed: int) -> list[int]:
    """At most `limit` of them, in their order."""
    if limit is None or len(places) <= limit:
        return places
    return sorted(int(place) for place in np.random.default_rng(seed).choice(places, limit, replace=False))


def shares(data: DataPart) -> dict[str, float]:
    """The shares to cut from `train`: none for a split that has files."""
    wanted = {
        "validation": data.split.validation if data.validation is None else 0.0,
        "test": data.split.test if data.test is None else 0.0,
    }
    return {name: share for name, share in wanted.items() if share > 0}
