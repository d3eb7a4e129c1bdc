"""Texts that come again: exactly, nearly, or in one column; within a split, across splits, under two labels."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator

from trainer.checks.findings import Facts, Finding, first_examples, quoted, share
from trainer.data.rows import Row
from trainer.data.splitting.similar import clusters

# Exact repeats, of all rows, from which on they are a warning.
MANY = 0.02


def repeats(facts: Facts) -> Iterator[Finding]:
    """Exact repeats: those that leak across given files, those within, and those under different labels."""
    sets = _sets(facts, (row.key for row in facts.rows))
    yield from _leaks(facts, sets)
    again = [row for members in sets for row in members[1:]]
    if again:
        files = Counter(row.file for row in again).most_common()
        yield Finding(
            severity="warning" if len(again) > MANY * len(facts.rows) else "note",
            check="repeats",
            what=f"{share(len(again), len(facts.rows))} rows repeat an earlier one exactly; "
            + ", ".join(f"{count} in {file}" for file, count in files),
            count=len(again),
            examples=first_examples(_places(members) for members in sets),
            do="nothing for the splits, repeats stay on one side; take them out where they are copies and not messages "
            "that were sent often",
        )
    yield from _conflicts(sets, "conflicts", "texts stand under different labels")


def near(facts: Facts) -> Iterator[Finding]:
    """Rows that are nearly equal, beyond the exact repeats: in all, across splits, and under different labels."""
    number = clusters([row.whole for row in facts.rows]).tolist()
    sets = [members for members in _sets(facts, number) if len({row.key for row in members}) > 1]
    if not sets:
        return
    rows = sum(map(len, sets))
    yield Finding(
        severity="note",
        check="near_repeats",
        what=f"{share(rows, len(facts.rows))} rows are nearly equal to another, in {len(sets)} sets",
        count=rows,
        examples=first_examples(f"{_places(_unlike(members))}: {quoted(members[0].text)}" for members in sets),
        do="look at them: templates and edited copies count several times",
    )
    split = {row.id: name for row, name in zip(facts.rows, facts.splits, strict=True)}
    # With "train" added, more than one split means that some row is held out.
    across = [members for members in sets if len({"train", *(split[row.id] for row in members)}) > 1]
    held = [[row for row in members if split[row.id] != "train"] for members in across]
    known = [row for rows, members in zip(held, across, strict=True) if len(rows) < len(members) for row in rows]
    if known:
        yield Finding(
            severity="warning",
            check="near_leak",
            what=f"{len(known)} validation and test rows are nearly equal to a training row",
            count=len(known),
            examples=first_examples(
                _places([_first(members, split, "train"), rows[0]])
                for rows, members in zip(held, across, strict=True)
                if len(rows) < len(members)
            ),
            do="set data.split.similar: true, which keeps them on one side, or expect figures that are too good",
        )
    yield from _conflicts(sets, "near_conflicts", "sets of nearly equal texts stand under different labels")


def repeated_values(facts: Facts) -> Iterator[Finding]:
    """Where a text is made of several columns: values of one of them that come again."""
    read = facts.recipe.input.columns
    split = {row.id: name for row, name in zip(facts.rows, facts.splits, strict=True)}
    for column in read if len(read) > 1 else ():
        sets = _sets(facts, (_cell(row, column) for row in facts.rows))
        if not sets:
            continue
        conflicting = [members for members in sets if _labels(members) > 1]
        across = sum(len({split[row.id] for row in members}) > 1 for members in sets)
        yield Finding(
            severity="warning" if conflicting or across else "note",
            check="column_repeats",
            what=f"{len(sets)} values of column {column!r} stand in {sum(map(len, sets))} rows: {len(conflicting)} of "
            f"them under different labels, {across} in several splits",
            count=len(sets),
            examples=first_examples(_places(members) for members in conflicting or sets),
            do=f"never train on this column alone; to keep such rows on one side set data.split.group={column}",
        )


def earlier(facts: Facts, trained: dict[tuple[str, str | None], str]) -> Iterator[Finding]:
    """Evaluation rows that an earlier stage was trained on. trained: the place of each text that it was."""
    held = [row for row, split in zip(facts.rows, facts.splits, strict=True) if split != "train" and row.key in trained]
    if held:
        yield Finding(
            severity="error",
            check="stage_leak",
            what=f"{len(held)} validation and test rows are training rows of an earlier stage",
            count=len(held),
            examples=first_examples(f"{trained[row.key]} = {row.place}" for row in held),
            do="take them out of the earlier stage, or give all stages one data part",
        )


def _leaks(facts: Facts, sets: list[list[Row]]) -> Iterator[Finding]:
    """Evaluation rows that training, or the other evaluation, knows word by word: only given files can hold them."""
    split = {row.id: name for row, name in zip(facts.rows, facts.splits, strict=True)}
    for known, held in (("train", "validation"), ("train", "test"), ("validation", "test")):
        both = [members for members in sets if {known, held} <= {split[row.id] for row in members}]
        rows = [row for members in both for row in members if split[row.id] == held]
        if rows:
            yield Finding(
                severity="error",
                check="leak",
                what=f"{len(rows)} {held} rows stand in {known} too, word by word",
                count=len(rows),
                examples=first_examples(
                    _places([_first(members, split, name) for name in (known, held)]) for members in both
                ),
                do=f"take them out of {known}: what is known by heart is not measured",
            )


def _conflicts(sets: list[list[Row]], check: str, what: str) -> Iterator[Finding]:
    conflicting = [members for members in sets if _labels(members) > 1]
    if conflicting:
        yield Finding(
            # Nearly equal texts may differ in the very word that the label is about.
            severity="note" if check == "near_conflicts" else "warning",
            check=check,
            what=f"{len(conflicting)} {what}",
            count=len(conflicting),
            examples=first_examples(
                f"{' / '.join(_label_at(row) for row in _differing(members))}: {quoted(members[0].text)}"
                for members in conflicting
            ),
            do="decide which label is right: no model can learn both"
            if check == "conflicts"
            else "nothing, where the small difference is what the label is about",
        )


def _sets(facts: Facts, keys: Iterable[Hashable]) -> list[list[Row]]:
    """Rows of one key, where there are several; None is no key."""
    sets: defaultdict[Hashable, list[Row]] = defaultdict(list)
    for row, key in zip(facts.rows, keys, strict=True):
        if key is not None:
            sets[key].append(row)
    return [members for members in sets.values() if len(members) > 1]


def _cell(row: Row, column: str) -> str | None:
    value = (row.values or {}).get(column)
    return value.strip() or None if isinstance(value, str) else None


def _labels(rows: list[Row]) -> int:
    return len({frozenset(row.labels) for row in rows})


def _differing(rows: list[Row]) -> list[Row]:
    """The first row, and the first one with other labels."""
    return [rows[0], next(row for row in rows if set(row.labels) != set(rows[0].labels))]


def _unlike(rows: list[Row]) -> list[Row]:
    """The first row, and the first one of another text."""
    return [rows[0], next(row for row in rows if row.key != rows[0].key)]


def _first(rows: list[Row], split: dict[int, str], name: str) -> Row:
    return next(row for row in rows if split[row.id] == name)


def _label_at(row: Row) -> str:
    return f"{row.place} {'|'.join(row.labels)}"


def _places(rows: list[Row]) -> str:
    return " = ".join(row.place for row in rows[:3]) + (f" = {len(rows) - 3} more" if len(rows) > 3 else "")
