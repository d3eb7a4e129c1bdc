"""What a section of the page is made of. The template alone knows how each looks, and escapes every text in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

# Characters of a text of a row, and of a label's name, that the page shows: it stays small, whatever the data.
TEXT, NAME = 600, 60
# Of those, what is read at once; the rest unfolds.
SHORT = 240


@dataclass(frozen=True)
class Strange:
    """A text that is not ours (a row's, a label's name): one line, cut, and on its own in the order of writing."""

    kind: ClassVar[str] = "strange"
    text: str
    most: int = NAME
    """Characters that are shown."""
    whole: int = 0
    """Characters of the text that this is the beginning of; 0: it is all."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number in a table, as it is shown and as it sorts."""

    kind: ClassVar[str] = "number"
    value: float | None
    """None: undefined."""
    shown: str
    """What stands in the cell."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """A figure from 0 to 1 with its 95 % interval, drawn as well."""

    kind: ClassVar[str] = "range"
    value: float | None
    """None: undefined on these rows."""
    low: float | None = None
    """The interval's lower end; None: there is none."""
    high: float | None = None
    """Its upper end."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Whether something holds: told by a word and a sign, never by colour alone."""

    kind: ClassVar[str] = "state"
    holds: bool | None
    """None: not known."""
    word: str
    """What is read."""


@dataclass(frozen=True)
class Names:
    """Labels beside each other."""

    kind: ClassVar[str] = "names"
    names: Sequence[str]
    """As they are; more than six are counted."""


@dataclass(frozen=True, kw_only=True)
class Shade:
    """A count in a confusion table, shaded by its share of its row."""

    kind: ClassVar[str] = "shade"
    count: int
    """Rows."""
    share: float
    """0 to 1."""
    right: bool
    """Whether true and decided label are the same."""


@dataclass(frozen=True, kw_only=True)
class MarkedText:
    """A text in pieces, each with what it does for a label: -1 to 1, 0 for none."""

    kind: ClassVar[str] = "marked"
    pieces: Sequence[tuple[str, float]]
    """In the order of the text."""
    more: int = 0
    """Characters that are left out at its end."""


Cell = str | Strange | Number | Range | State | Names | Shade | MarkedText


@dataclass(frozen=True)
class Paragraph:
    """Sentences of ours."""

    kind: ClassVar[str] = "paragraph"
    text: str
    strong: bool = False


@dataclass(frozen=True)
class Heading:
    """The name of a part within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Labelled:
    """A heading that names something of the user's, such as a label."""

    kind: ClassVar[str] = "labelled"
    name: Strange
    after: str


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Something that is not there, and the command that makes it."""

    kind: ClassVar[str] = "missing"
    what: str
    """One sentence."""
    command: str
    """As it is typed."""


@dataclass(frozen=True, kw_only=True)
class Commands:
    """Lines to type."""

    kind: ClassVar[str] = "commands"
    lines: Sequence[str]
    """As they are typed."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under heads."""

    kind: ClassVar[str] = "table"
    caption: str
    """What it shows, in a sentence."""
    heads: Sequence[str | Strange]
    """A name a column."""
    rows: Sequence[Sequence[Cell]]
    """A cell a column."""
    sort: bool = True
    """Whether a click on a head sorts."""
    stack: bool = False
    """Whether each row becomes a card where there is little room: nobody finds a column that lies beyond the edge."""
    fold: str = ""
    """What one clicks on to see it; nothing: it is seen."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing with its words and its numbers."""

    kind: ClassVar[str] = "chart"
    name: str
    """Unique on the page; letters and dashes."""
    title: str
    """Above it."""
    says: str
    """What is to be seen, for those who do not see it."""
    svg: str
    """Made by `charts.draw`, which lets no text of others be markup."""
    table: Table | None
    """The numbers behind it."""


@dataclass(frozen=True)
class Side:
    """Charts beside each other, where there is room."""

    kind: ClassVar[str] = "side"
    charts: Sequence[Chart]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What words mean."""

    kind: ClassVar[str] = "terms"
    terms: Mapping[str, str]
    """The word, and what it means."""


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Lines as they are in a file."""

    kind: ClassVar[str] = "folded"
    title: str
    """What one clicks on."""
    text: str
    """Shown with its line ends."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer."""

    kind: ClassVar[str] = "verdict"
    word: Literal["use", "use with care", "do not use"]
    """By the rules alone."""
    why: str
    """One sentence."""
    name: str
    """Of the headline metric."""
    figure: Range
    """Its value."""
    rows: str
    """On how many rows of what it was measured."""
    plain: Sequence[str] = ()
    """The same in counts, and what it costs to run: sentences for who never met the metric."""


Block = Paragraph | Heading | Labelled | Missing | Commands | Table | Chart | Side | Terms | Folded | Verdict


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page."""

    key: str
    """Its anchor."""
    title: str
    """Its heading, and its entry in the list of contents."""
    blocks: Sequence[Block]
    """In their order."""


def number(value: float | None, places: int = 3) -> Number:
    """A figure with so many places."""
    return Number(value=value, shown="undefined" if value is None else f"{value:.{places}f}")


def count(value: int) -> Number:
    """A whole number with its thousands apart."""
    return Number(value=value, shown=f"{value:,}")


def percent(value: float | None, places: int = 1) -> Number:
    """A share as a percentage."""
    return Number(value=value, shown="undefined" if value is None else f"{value:.{places}%}".replace("%", " %"))
