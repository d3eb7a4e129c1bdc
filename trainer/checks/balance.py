"""Labels: how many rows each has, in which order they stand, and where there are too few."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from trainer.checks.findings import Facts, Finding, first_examples, share
from trainer.contract.figures.metrics import ONE_LABEL
from trainer.data.rows import Row
from trainer.data.splitting.refusals import HELD

# Rows of a label in a split below which its figures are chance.
FEW = 10
# How many times the rows of the rarest label the commonest one may have.
UNBALANCED = 5
# How far the share of a label may lie apart in two splits.
SHIFT = 0.1


def labels_by_split(facts: Facts) -> dict[str, dict[str, int]]:
    """Rows of each label in each split."""
    counts = {name: Counter(label for row in facts.of(name) for label in row.labels) for name in facts.names}
    return {name: {label: counts[name][label] for label in facts.space.names} for name in facts.names}


def balance(facts: Facts) -> Iterator[Finding]:
    """One class only, labels without rows or with too few, and a lopsided distribution."""
    counts = labels_by_split(facts)
    total = {label: sum(counts[name][label] for name in counts) for label in facts.space.names}
    present = [label for label, count in total.items() if count]
    if len(present) < (2 if facts.space.kind == "single" else 1):
        yield Finding(
            severity="error",
            check="one_class",
            what=f"the rows have one class only: {', '.join(present) or 'none'}",
            count=len(present),
            do="check labels.column and the files",
        )
        return
    for label in facts.space.names:
        yield from _few(facts, label, {name: counts[name][label] for name in counts})
    largest, smallest = max(total, key=lambda label: total[label]), min(present, key=lambda label: total[label])
    if total[largest] > UNBALANCED * total[smallest]:
        yield Finding(
            severity="warning",
            check="unbalanced",
            what=f"{smallest!r} has {share(total[smallest], len(facts.rows))} rows, {largest!r} {total[largest]:,}",
            count=total[smallest],
            do="weigh the loss (loss.weights: balanced), select by an F1, and do not read accuracy",
        )


def measuring(facts: Facts) -> Iterator[Finding]:
    """Validation rows that are too few to prove an export with, and a metric of one label among many."""
    held = len(facts.of("validation"))
    if held < HELD:
        yield Finding(
            severity="warning",
            check="few_validation_rows",
            what=f"{held} validation rows: an export is proved with at least {HELD}",
            count=held,
            do="give more rows, or a larger data.split.validation",
        )
    metric, labels = facts.recipe.select.metric, facts.recipe.labels
    if len(facts.space) > 2 and labels.positive is None and metric in ONE_LABEL:
        name = facts.space.names[facts.space.positive_id]
        yield Finding(
            severity="warning",
            check="metric_of_one_label",
            what=f"select.metric: {metric} is of the label {name!r} alone, the second of {len(facts.space)}",
            count=len(facts.space),
            do="name the label under labels.positive, or take f1_macro",
        )


def shift(facts: Facts) -> Iterator[Finding]:
    """Labels that evaluation rows bear more or less often than training rows."""
    shares = {
        name: {label: count / max(1, len(facts.of(name))) for label, count in counts.items()}
        for name, counts in labels_by_split(facts).items()
    }
    for name in facts.names[1:] if "train" in shares else ():
        far = {label: abs(shares[name][label] - shares["train"][label]) for label in facts.space.names}
        label = max(far, key=lambda label: far[label])
        if far[label] > SHIFT:
            yield Finding(
                severity="warning",
                check="label_shift",
                what=f"{label!r} is on {100 * shares['train'][label]:.0f} % of the training rows and on "
                f"{100 * shares[name][label]:.0f} % of the {name} rows",
                count=len(facts.of(name)),
                do="see that both were drawn the same way; thresholds and figures of one do not hold for the other",
            )


def _few(facts: Facts, label: str, counts: dict[str, int]) -> Iterator[Finding]:
    low = {name: count for name, count in counts.items() if count < FEW}
    if not low:
        return
    rows = [row for row in facts.rows if label in row.labels]
    yield Finding(
        severity="warning",
        check="no_rows" if not rows else "few_rows",
        what=f"label {label!r} has no rows"
        if not rows
        else f"label {label!r} has only {', '.join(f'{count} {name} rows' for name, count in low.items())}",
        count=sum(counts.values()),
        examples=first_examples(row.place for row in rows),
        do="take it out of the labels" if not rows else "add rows, join it with another label, or enlarge the split",
    )


def combinations(facts: Facts) -> Iterator[Finding]:
    """Multi-label rows: combinations that few rows have, and rows without any label."""
    if facts.space.kind == "single":
        return
    counts = Counter(tuple(sorted(row.labels)) for row in facts.rows)
    rare = {labels: count for labels, count in counts.items() if count < FEW and len(labels) > 1}
    if rare:
        yield Finding(
            severity="note",
            check="rare_combinations",
            what=f"{len(rare)} of {len(counts)} combinations of labels have fewer than {FEW} rows",
            count=len(rare),
            examples=first_examples(
                f"{' + '.join(labels)}: {count}" for labels, count in sorted(rare.items(), key=lambda pair: pair[1])
            ),
            do="nothing: the split balances single labels; do not expect these combinations to be learnt",
        )
    if counts[()]:
        yield Finding(
            severity="note",
            check="no_labels",
            what=f"{share(counts[()], len(facts.rows))} rows have no label",
            count=counts[()],
            examples=first_examples(row.place for row in facts.rows if not row.labels),
            do="check that no label is meant, and not an unlabelled row",
        )


def order(facts: Facts) -> Iterator[Finding]:
    """Files that are sorted by label, or that hold some of the labels alone."""
    files: dict[str, list[Row]] = {}
    for row in facts.rows:
        files.setdefault(row.file, []).append(row)
    for file, rows in files.items():
        labels = [row.labels for row in rows]
        counts = Counter(labels)
        # Rows in random order change their label between neighbours this often.
        expected = (len(rows) - 1) * (1 - sum((count / len(rows)) ** 2 for count in counts.values()))
        changes = sum(one != other for one, other in pairwise(labels))
        if len(counts) > 1 and expected > FEW and changes < expected / 4:
            what = f"the rows are sorted by label: it changes {changes} times, {expected:.0f} in random order"
            yield _order("sorted_by_label", file, what, rows)
        single = facts.space.kind == "single" and len(files) > 1
        missing = [name for name in facts.space.names if (name,) not in counts]
        # Of one label a row, a file that lacks some may differ in more than its labels.
        if single and missing and len(rows) > FEW:
            what = f"the file has rows of {', '.join(' '.join(names) for names in counts)} alone"
            yield _order("labels_by_file", file, what, rows)


def _order(check: str, file: str, what: str, rows: list[Row]) -> Finding:
    return Finding(
        severity="note",
        check=check,
        what=f"{file}: {what}",
        count=len(rows),
        examples=(rows[0].place, rows[-1].place),
        do="nothing here: splits and epochs are shuffled; never split such a file by position, and look for whatever "
        "else tells the files apart",
    )
