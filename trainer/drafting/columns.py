"""What each column is: text, label, one of several labels, group, time, or nothing that a classifier reads."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from trainer.contract.errors import BadRow
from trainer.data.files.label_cells import spelled
from trainer.data.splitting.times import TimeReader

_TITLES = re.compile(r"title|titulo|título|titel|headline|subject|heading|betreff|asunto", re.IGNORECASE)
_LABELS = re.compile(
    r"label|class(?!ic)|clase|klasse|categor|kategorie|target|sentiment|topic|^y$|etiqueta|group|grupo|intent|rating|stars",
    re.IGNORECASE,
)
_IDENTITIES = "video|user|author|thread|customer|patient|session|conversation|channel"
_GROUPS = re.compile(rf"({_IDENTITIES}|doc\w*|article).?id$|^({_IDENTITIES})$", re.IGNORECASE)
_URL = re.compile(r"https?://\S+$|www\.\S+$")
SEPARATORS = "|;,"
_BOOLEANS = frozenset({"true", "false", "0", "1"})
# More different values than this are no classes that a person wrote.
MOST_LABELS = 200
# Words of a cell, on average; shorter ones are names, codes or labels.
_TEXT_WORDS = 3.0


@dataclass(frozen=True, kw_only=True)
class ColumnLook:
    """What the cells of one column are like, over all files that have it."""

    name: str
    rows: int
    """All cells."""
    filled: int
    """Cells that are not empty."""
    values: Counter[str]
    """How often each cell occurs, as text."""
    words: float
    """Words of a cell, on average."""
    lists: bool
    text: bool

    @property
    def is_text(self) -> bool:
        """Whether a person could read it: several words, hardly ever twice the same, no addresses and no times."""
        return (
            self.text
            and self.words >= _TEXT_WORDS
            and len(self.values) > 0.5 * self.filled
            and not all(_URL.match(value.strip()) for value in _some(self.values))
            and not is_time(self)
        )

    @property
    def is_boolean(self) -> bool:
        """Whether every cell is true or false, or 1 or 0."""
        return bool(self.values) and {value.lower().removesuffix(".0") for value in self.values} <= _BOOLEANS

    @property
    def separator(self) -> str | None:
        """What parts several labels of one cell: a mark whose pieces are few, and stand alone in other cells."""
        if self.lists:
            return None
        for mark in SEPARATORS:
            parted = {value for value in self.values if mark in value}
            pieces = {piece.strip() for value in self.values for piece in value.split(mark)}
            alone = {value.strip() for value in self.values} - parted
            if parted and "" not in pieces and len(pieces) <= MOST_LABELS and len(pieces & alone) > len(pieces) / 2:
                return mark
        return None


def summarize(name: str, cells: Iterable[object]) -> ColumnLook:
    """Look at all cells of a column."""
    values: Counter[str] = Counter()
    rows = words = filled = 0
    lists = False
    text = True
    for cell in cells:
        rows += 1
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            continue
        if isinstance(cell, list | tuple):
            lists, filled = True, filled + 1
            values.update(map(_shown, cell))
            continue
        shown = _shown(cell)
        text = text and isinstance(cell, str)
        lists = lists or _json_list(shown)
        if shown:
            values[shown] += 1
            filled += 1
            words += len(shown.split())
    return ColumnLook(
        name=name, rows=rows, filled=filled, values=values, words=words / max(1, filled), lists=lists, text=text
    )


def _shown(cell: object) -> str:
    """A cell as training reads it in a column of labels; what cannot be one, as it looks."""
    try:
        return spelled(cell)
    except BadRow:
        return str(cell).strip()


def text_columns(looks: list[ColumnLook]) -> list[str]:
    """The longest text, with the titles that stand beside it before it; no cleaned copy of one of them."""
    texts = [one for one in looks if one.is_text]
    if not texts:
        return []
    main = max(texts, key=lambda one: (not _derived(one.name, texts), one.words))
    titles = [one.name for one in texts if one is not main and _TITLES.search(one.name)]
    return [*titles, main.name]


def unread_texts(looks: list[ColumnLook], texts: list[str]) -> list[str]:
    """Names of further columns that a person could read, but for cleaned copies of others."""
    could = [one for one in looks if one.is_text]
    return [one.name for one in could if one.name not in texts and not _derived(one.name, could)]


def label_columns(looks: list[ColumnLook], texts: list[str]) -> list[ColumnLook]:
    """Columns that could be the label, the likeliest first: few values, each several times; a telling name first."""
    chosen = []
    for place, one in enumerate(looks):
        pieces = _pieces(one)
        few = 2 <= len(pieces) <= min(MOST_LABELS, max(2, one.filled // 4))
        # A label has no holes: what is empty at times was noted beside some rows.
        if one.name not in texts and few and one.filled == one.rows and not is_group(one):
            told = bool(_LABELS.search(one.name))
            # A telling name first; without one, columns of yes and no; then fewer values; then the order of the file.
            chosen.append(((not told, not one.is_boolean if not told else False, len(pieces), place), one))
    return [one for _, one in sorted(chosen, key=lambda pair: pair[0])]


def is_group(one: ColumnLook) -> bool:
    """Whether rows of one value belong together: an identity that several rows share."""
    return bool(_GROUPS.search(one.name)) and 10 <= len(one.values) <= 0.5 * one.filled


def is_time(one: ColumnLook) -> bool:
    """Whether every cell is a date or a moment."""
    reader = TimeReader(one.name)
    try:
        for value in _some(one.values):
            reader.read(value)
    except BadRow:
        return False
    return reader.kind == "date"


def _pieces(one: ColumnLook) -> set[str]:
    if one.lists and any(map(_json_list, _some(one.values))):
        return {str(item) for value in one.values if _json_list(value) for item in json.loads(value)}
    mark = one.separator
    return {piece.strip() for value in one.values for piece in value.split(mark)} if mark else set(one.values)


def _derived(name: str, texts: list[ColumnLook]) -> bool:
    """Whether a name says that the column was made from another: text_clean beside Text."""
    folded = name.casefold()
    return any(folded != one.name.casefold() and folded.startswith(one.name.casefold() + "_") for one in texts)


def _json_list(value: str) -> bool:
    if not (value.startswith("[") and value.endswith("]")):
        return False
    try:
        return isinstance(json.loads(value), list)
    except ValueError:
        return False


def _some(values: Counter[str]) -> list[str]:
    return list(values)[:200]
