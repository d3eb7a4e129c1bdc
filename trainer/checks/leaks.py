"""Columns that training does not read and that tell rows apart: groups and times on both sides of a split."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from trainer.checks.findings import Facts, Finding, first_examples, share
from trainer.contract.errors import BadRow
from trainer.data.splitting.times import TimeReader

_GROUP = "id user author account channel video thread conversation session source site domain patient customer group"
_TIME = "date time datetime timestamp created published year fecha datum"
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# A column is a group where its values come again this often on average, and it is of use for a split where most
# evaluation rows share one with training.
_ROWS_PER_GROUP = 3
_GAIN = 0.05


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column that training does not read: its filled cells by place in `Facts.rows`."""

    name: str
    cells: dict[int, str]


def groups(facts: Facts) -> Iterator[Finding]:
    """Groups (authors, videos, sources) that stand in training and in evaluation, the split's own or found ones."""
    asked = facts.gathered.data.split.group
    for column in _unread(facts):
        if column.name == asked:
            yield from _asked_group(facts, column)
        elif asked is None and facts.gathered.data.split.time is None:
            yield from _found_group(facts, column)


def times(facts: Facts) -> Iterator[Finding]:
    """Evaluation rows older than training rows: training would know the future."""
    asked = facts.gathered.data.split.time
    for column in _unread(facts):
        if column.name == asked or (asked is None and _is_named(column, _TIME)):
            moments = _moments(column, facts.gathered.data.split.time_format if asked else None)
            held = [place for place in moments if facts.splits[place] != "train"]
            newest = max((moments[place] for place in moments if facts.splits[place] == "train"), default=None)
            early = [place for place in held if newest is not None and moments[place] < newest]
            # One late training row makes all evaluation rows early; a split by time leaves few or none.
            if len(early) > len(held) / 2:
                yield Finding(
                    severity="warning",
                    check="time_leak",
                    what=f"column {column.name!r}: {share(len(early), len(held))} evaluation rows are older than the "
                    "newest training row",
                    count=len(early),
                    examples=first_examples(f"{facts.rows[place].place}: {column.cells[place]}" for place in early),
                    do=f"where the classifier will meet newer texts, set data.split.time={column.name}",
                )


def _unread(facts: Facts) -> Iterator[_Column]:
    """Columns that are neither text nor label."""
    read = {*facts.recipe.input.columns, facts.recipe.labels.column, *(facts.recipe.labels.columns or ())}
    cells: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for place, row in enumerate(facts.rows):
        for name, value in (row.values or {}).items():
            if name not in read and value is not None and (text := str(value).strip()):
                cells[name][place] = text
    for name, found in cells.items():
        yield _Column(name=name, cells=found)


def _asked_group(facts: Facts, column: _Column) -> Iterator[Finding]:
    known = {value for place, value in column.cells.items() if facts.splits[place] == "train"}
    held = [place for place, value in column.cells.items() if facts.splits[place] != "train" and value in known]
    if held:
        yield Finding(
            severity="error",
            check="group_leak",
            what=f"{len(held)} evaluation rows share their {column.name!r} with training rows",
            count=len(held),
            examples=first_examples(f"{facts.rows[place].place}: {column.cells[place]}" for place in held),
            do="divide the given files by this column, or let the split be cut",
        )


def _found_group(facts: Facts, column: _Column) -> Iterator[Finding]:
    values = Counter(column.cells.values())
    named = _is_named(column, _GROUP)
    rows = len(column.cells)
    # Two values are a flag, not groups; numbers alone are a measure, unless the name says whose they are.
    if len(values) < 3 or rows < _ROWS_PER_GROUP * len(values) or (not named and all(map(_is_number, values))):
        return
    base, known = _predicted(facts, column)
    held = [place for place in column.cells if facts.splits[place] != "train"]
    trained = {value for place, value in column.cells.items() if facts.splits[place] == "train"}
    both = [place for place in held if column.cells[place] in trained]
    if len(both) > len(held) / 2 and (named or known > base + _GAIN):
        yield Finding(
            severity="warning",
            check="group_leak",
            what=f"column {column.name!r} has {len(values)} values in {rows:,} rows; {share(len(both), len(held))} "
            f"evaluation rows share theirs with training rows, and the value alone predicts the label of "
            f"{100 * known:.0f} % (the most frequent label: {100 * base:.0f} %)",
            count=len(values),
            examples=first_examples(f"{value}: {count} rows" for value, count in values.most_common()),
            do=f"to measure on values that training has not seen, set data.split.group={column.name}",
        )


def _predicted(facts: Facts, column: _Column) -> tuple[float, float]:
    """Share of rows whose labels are the most frequent ones, and whose labels are those most frequent among the other
    rows of their group: what the group knows of the label.
    """
    labels: defaultdict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for place, value in column.cells.items():
        labels[value][facts.rows[place].labels] += 1
    total = sum(labels.values(), Counter[tuple[str, ...]]())
    right = 0
    for counts in labels.values():
        for own, count in counts.items():
            # Without the row itself, which would vote for its own label.
            others = counts - Counter({own: 1})
            right += count * bool(others and max(others, key=lambda name: (others[name], name)) == own)
    rows = max(1, len(column.cells))
    return max(total.values(), default=0) / rows, right / rows


def _is_named(column: _Column, words: str) -> bool:
    """Whether a column's name has one of the words: VideoId and video_id have video and id, and "valid" has neither."""
    return any(word.lower() in words.split() for word in _WORD.findall(column.name))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _moments(column: _Column, form: str | None) -> dict[int, float]:
    """The cells as times; nothing if one is not a time, since the column then holds something else."""
    reader = TimeReader(column.name, form)
    try:
        return {place: reader.read(value) for place, value in column.cells.items()}
    except BadRow:
        return {}
