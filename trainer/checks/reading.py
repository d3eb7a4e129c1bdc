"""Records that are no rows, cells that are empty, columns that say nothing."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator

from trainer.checks.findings import Facts, Finding, Severity, first_examples, quoted, share
from trainer.contract.errors import InputError
from trainer.data.files.label_cells import separator_hint
from trainer.data.gather import Gathered
from trainer.data.rows import Row

_REPAIR = {
    "null_text": "repair the rows, or set input.on_null to drop (leaves them out, counted) or empty",
    "null_label": "label the rows, or take them out of the files",
    "field_count": "check delimiter and quoting: a stray quote or delimiter joins or parts fields",
    "broken_csv": "check quoting: with `quoting: none` quotes are characters",
    "invalid_encoding": "name the file's encoding (often cp1252 or utf-16)",
}


def unreadable(gathered: Gathered) -> Iterator[Finding]:
    """Records that training would refuse, by their reason, and spellings that are no labels."""
    for part in gathered.given.values():
        for reason, count in part.problems.counts.items():
            problems = part.problems.of(reason)
            yield Finding(
                severity="error",
                check=reason,
                what=f"{share(count, sum(part.read.values()))} records cannot be read: {problems[0].what}",
                count=count,
                examples=first_examples(f"{problem.place}: {problem.what}" for problem in problems),
                do=_REPAIR.get(reason, "repair the rows"),
            )
        try:
            part.labels.check()
        except InputError as error:
            yield Finding(
                severity="error",
                check="unknown_label",
                what=f"{error.what}: {error.details['found']}",
                count=part.labels.unknown.total(),
                examples=first_examples(f"{place}: {name!r}" for name, place in part.labels.first_seen.items()),
                do=error.details["do"],
            )


def dropped(gathered: Gathered) -> Iterator[Finding]:
    """Rows that are left out for a null text, by file."""
    counts = {file: count for part in gathered.given.values() for file, count in part.dropped.items()}
    if counts:
        yield Finding(
            severity="warning",
            check="nulls_dropped",
            what=f"{sum(counts.values()):,} rows are left out for a null text (input.on_null: drop)",
            count=sum(counts.values()),
            examples=first_examples(f"{file}: {count}" for file, count in counts.items()),
            do="check that nothing is lost that scoring will meet: there a null text is an error row",
        )


def quoting(facts: Facts) -> Iterator[Finding]:
    """Double quotes that a CSV reader trips over: rows swallowed into a cell, or lost by the other rule."""
    given = _constants(facts)
    swallowed = [row for row in facts.rows if "\n" in row.text and _holds_rows(row, facts, given)]
    if swallowed:
        yield Finding(
            severity="warning",
            check="swallowed_rows",
            what=f"{len(swallowed)} cells hold what look like rows of their own: a stray quote joins lines",
            count=len(swallowed),
            examples=first_examples(f"{row.place}: {quoted(row.text)}" for row in swallowed),
            do="set `quoting: none` for this source, or repair the quotes",
        )
    if any(source.quoting == "none" for source in facts.gathered.data.train):
        cells = [row for row in facts.rows if any(str(cell).startswith('"') for cell in (row.values or {}).values())]
        if cells:
            yield Finding(
                severity="note",
                check="stray_quotes",
                what=f"{len(cells)} cells begin with a double quote, read as a character (`quoting: none`)",
                count=len(cells),
                examples=first_examples(f"{row.place}: {quoted(row.text)}" for row in cells),
                do="nothing: but a reader that takes quotes for quotes will join lines here and lose rows",
            )


def _holds_rows(row: Row, facts: Facts, given: set[str]) -> bool:
    """Whether a line inside a cell has as many fields as the file has columns, the label among them."""
    columns = [name for name in row.values or {} if name not in given]
    column = facts.recipe.labels.column
    if column not in columns:
        return False
    place, known = columns.index(column), {*facts.space.names, *facts.recipe.labels.mapping}
    lines = (line.split(mark) for line in row.text.split("\n") for mark in ",;\t|")
    return any(len(fields) == len(columns) and fields[place].strip(' "') in known for fields in lines)


def nulls(facts: Facts) -> Iterator[Finding]:
    """Empty cells of every column, those that training does not read among them; texts with nothing in them."""
    empty = [row for row in facts.rows if not row.text.strip()]
    if empty:
        yield Finding(
            severity="warning",
            check="empty_text",
            what=f"{share(len(empty), len(facts.rows))} rows have no text at all",
            count=len(empty),
            examples=first_examples(row.place for row in empty),
            do="set input.on_null to drop, or take them out: a label that hangs on nothing teaches nothing",
        )
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    given = {*_constants(facts), facts.recipe.labels.column, *(facts.recipe.labels.columns or ())}
    for row in facts.rows:
        for column, value in (row.values or {}).items():
            if column not in given and (value is None or (isinstance(value, str) and not value.strip())):
                counts[column] += 1
                first.setdefault(column, row.place)
    for used in (True, False):
        found = {name: count for name, count in counts.items() if (name in facts.recipe.input.columns) is used}
        if found:
            yield Finding(
                severity="note",
                check="nulls" if used else "unread_nulls",
                what=f"columns with empty cells{'' if used else ', which are not read'}: "
                + ", ".join(f"{name!r} {count:,}" for name, count in found.items()),
                count=sum(found.values()),
                examples=first_examples(f"{first[name]}: {name!r}" for name in found),
                do="nothing, where the text is whole without them" if used else "nothing",
            )


def useless_columns(facts: Facts) -> Iterator[Finding]:
    """Columns that hold one value, or that a saved index left behind."""
    values: defaultdict[str, set[object]] = defaultdict(set)
    filled: Counter[str] = Counter()
    for row in facts.rows:
        for column, value in (row.values or {}).items():
            filled[column] += 1
            if len(values[column]) < 2 and isinstance(value, str | int | float | bool):
                values[column].add(value)
    constant = {column: next(iter(seen)) for column, seen in values.items() if len(seen) == 1 and filled[column] > 1}
    ours = _constants(facts)
    for column, value in constant.items():
        if column not in ours and not (isinstance(value, str) and not value.strip()):
            yield _column(facts.rows, column, "constant_column", f"holds {value!r} in every row", "note")
    if "" in values:
        yield _column(facts.rows, "", "unnamed_column", "has no name: an index that was saved with the rows", "note")


def _constants(facts: Facts) -> set[str]:
    """Columns that the recipe itself fills."""
    data = facts.gathered.data
    sources = [*data.train, *(data.validation or ()), *(data.test or ())]
    return {name for source in sources for name in source.constant}


def _column(rows: list[Row], column: str, check: str, what: str, severity: Severity) -> Finding:
    place = next((row.place for row in rows if row.values and column in row.values), "")
    return Finding(
        severity=severity,
        check=check,
        what=f"column {column!r} {what}",
        count=1,
        examples=(place,),
        do="nothing, where it is not read; it cannot teach anything",
    )


def several_labels(facts: Facts) -> Iterator[Finding]:
    """Cells of several labels: a separator that the recipe does not name, and labels named twice."""
    hint = separator_hint(facts.recipe.labels, facts.space.names)
    if hint:
        yield Finding(
            severity="warning",
            check="separator",
            what=hint,
            count=len(facts.space.names),
            do="name the separator, or list the labels under labels.names where the mark is part of a name",
        )
    repeated = [place for part in facts.gathered.given.values() for place in part.labels.repeated]
    if repeated:
        yield Finding(
            severity="note",
            check="repeated_labels",
            what=f"{share(len(repeated), len(facts.rows))} cells name a label twice; it counts once",
            count=len(repeated),
            examples=first_examples(repeated),
            do="see what was meant",
        )


def spellings(facts: Facts) -> Iterator[Finding]:
    """Labels that the files write in several ways."""
    column = facts.recipe.labels.column
    if column is None or facts.space.kind == "multi":
        return
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    first: dict[str, str] = {}
    for row in facts.rows:
        cell = repr((row.values or {}).get(column))
        seen[row.labels[0]][cell] += 1
        first.setdefault(cell, row.place)
    several = {name: cells for name, cells in seen.items() if len(cells) > 1}
    if several:
        written = "; ".join(
            f"{name}: " + ", ".join(f"{cell} {count}" for cell, count in cells.most_common())
            for name, cells in several.items()
        )
        yield Finding(
            severity="note",
            check="label_spellings",
            what=f"labels are written in several ways: {written}",
            count=sum(map(len, several.values())),
            examples=first_examples(f"{first[cell]}: {cell}" for cells in several.values() for cell in cells),
            do="check labels.mapping: each spelling must mean what it is read as",
        )
    folded: defaultdict[str, list[str]] = defaultdict(list)
    for name in facts.space.names:
        folded[_folded(name)].append(name)
    for names in folded.values():
        if len(names) > 1:
            yield Finding(
                severity="warning",
                check="label_names",
                what="labels differ in case, white space, Unicode form or unseen characters alone: "
                + ", ".join(map(quoted, names)),
                count=len(names),
                do="join them under labels.mapping",
            )


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(each for each in plain if not each.isspace() and unicodedata.category(each) not in ("Cc", "Cf"))
