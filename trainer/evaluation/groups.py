"""Rows that resemble each other, such as one author's: figures of new authors move by more than those of new rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.contract.encoding import Ints
from trainer.contract.labelled import LabelledRows
from trainer.evaluation.figures import ECE, names, resampled_systems
from trainer.evaluation.measured import Measured
from trainer.recipes.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The groups of N rows."""

    column: str | None
    """The column that names them; None where every row stands for itself."""
    of: Ints
    """[N]: a number for each row's group, from 0 on without a gap; a row without a group is one by itself."""

    @classmethod
    def by(cls, column: str | None, cells: Sequence[str] | None, rows: int) -> "Groups":
        """Rows with the same cell belong together; those with an empty one to nobody. cells: None for no groups."""
        if cells is None:
            return cls(column=None, of=np.arange(rows))
        # A row without a group stands under its place, a number, which no cell can be.
        known: dict[object, int] = {}
        of = [known.setdefault(cell or place, len(known)) for place, cell in enumerate(cells)]
        return cls(column=column, of=np.array(of, dtype=np.int64))

    @classmethod
    def of_rows(cls, recipe: Recipe, rows: LabelledRows) -> "Groups":
        """By the column that the recipe names, where it names one and the rows were kept with it."""
        column = recipe.group_column(recipe.measured_data)
        return cls.by(column, rows.columns.get(column or ""), len(rows))

    @property
    def units(self) -> Ints | None:
        """What is drawn together; None where each row is drawn by itself."""
        return None if self.column is None else self.of

    def figures(self, measured: Measured) -> dict[str, Any] | None:
        """Every metric with an interval by group; None without groups."""
        if self.column is None or not len(self.of):
            return None
        wanted = [*names(measured.space), ECE]
        found = resampled_systems({"encoder": measured}, {"encoder": wanted}, self.of)["encoder"].intervals()
        sizes = np.bincount(self.of)
        return {
            "column": self.column,
            "groups": len(sizes),
            "largest": int(sizes.max()),
            "intervals": {name: asdict(figure) for name, figure in found.items()},
        }
