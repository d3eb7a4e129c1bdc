"""From the files to the parts of a recipe, each with the reason for it."""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trainer.data.files.label_cells import meant
from trainer.deciding.temperature import LEAST_TEMPERATURE_ROWS
from trainer.drafting.columns import ColumnLook, is_group, is_time, summarize
from trainer.drafting.files import Found, LabelledFile, label_spellings
from trainer.drafting.sources import canonical, merged_sources, source, text_names

_ENTITY = re.compile(r"&(lt|gt|amp|quot|apos|nbsp|#\d+);| #\d+;")
_MOST_TOKENS = 512
# A label of fewer rows may be missing from a split.
_FEWEST = 20
# Fewer rows get smaller steps, and as many epochs as make so many steps.
_FEW_ROWS = 2000
_FEWEST_STEPS = 300


@dataclass
class Draft:
    """The recipe's parts as plain values."""

    parts: dict[str, Any] = field(default_factory=dict)
    why: dict[str, list[str]] = field(default_factory=dict)
    """Reasons, by the part that they explain."""
    undecided: list[str] = field(default_factory=list)
    """Questions that a person must answer."""

    def explain(self, part: str, sentence: str) -> None:
        """Keep a reason for a part of the recipe."""
        self.why.setdefault(part, []).append(sentence)


def draft(found: Found) -> Draft:
    """All parts that depend on the rows."""
    made = Draft(undecided=list(found.undecided))
    main, titles = text_names(found.files)
    label = canonical(found.files, [one.labels[0] for one in found.files], "label")
    columns = _shared_columns(found.files)
    several = len(columns) > 1
    sources: dict[str, list[dict[str, Any]]] = {}
    for one in found.files:
        sources.setdefault(one.role, []).append(source(one, main, titles, None if several else label))
    made.parts["data"] = {
        role: merged_sources(sources[role]) for role in ("train", "validation", "test") if role in sources
    }
    for one in found.files:
        for sentence in one.look.why:
            made.explain("data", f"{one.name}: {sentence}")
    for line in found.left_out:
        made.explain("data", f"not read: {line}")
    _input(made, found.files, main, titles)
    if several:
        _many_columns(made, found.files, columns)
    else:
        _one_column(made, found.files, label)
    _split(made, found.files, main, several_texts=bool(titles))
    _steps(made, sum(len(one.look.records) for one in found.files if one.role == "train"))
    return made


def _input(made: Draft, files: list[LabelledFile], main: str, titles: list[str]) -> None:
    part: dict[str, Any] = {"text": [*titles, main] if titles else main}
    nulls = sum(one.columns[one.main].rows - one.columns[one.main].filled for one in files)
    if titles:
        part |= {"join": ". ", "on_null": "empty"}
        names = ", ".join(map(repr, [*titles, main]))
        made.explain("input", f"{names} are joined to one text, as a title and its text are; what is empty is left out")
    elif nulls:
        part["on_null"] = "drop"
        made.explain("input", f"{nulls:,} rows have no text and are left out, counted")
    else:
        made.explain("input", f"{main!r} holds the longest texts")
    unread = list(dict.fromkeys(name for one in files for name in one.unread))
    if unread:
        both = " ".join(f"--text {name}" for name in [*titles, main, unread[0]])
        made.undecided.append(
            f"{', '.join(map(repr, unread[:4]))} could be read too: joined to one text ({both}), or, where the label is"
            f" about two texts, as a pair (input: {{text: {main}, pair: {unread[0]}}})"
        )
    cells = [cell for one in files for cell in one.columns[one.main].values]
    entities = sum(bool(_ENTITY.search(cell)) for cell in cells)
    # A few may be about HTML; more than one text in a hundred came from a web page.
    if entities > 0.01 * len(cells):
        part["unescape_html"] = True
        made.explain("input", f"{entities / len(cells):.0%} of the texts hold HTML entities such as &amp;")
    made.parts["input"] = part


def _one_column(made: Draft, files: list[LabelledFile], label: str) -> None:
    looks = [one.columns[one.labels[0]] for one in files if one.constant is None]
    marks = {look.separator for look in looks} - {None}
    if marks or any(look.lists for look in looks):
        made.parts["labels"] = {"column": label, "kind": "multi"}
        if marks:
            made.parts["labels"]["separator"] = next(iter(marks))
        made.explain(
            "labels", "a cell may hold several labels" + (f", parted by {marks.pop()!r}" if marks else ", in a list")
        )
    else:
        counts = _counts(files)
        made.parts["labels"] = {"column": label, "kind": "single", **_names(made, counts)}
        _balance(made, counts)
        _foreign(made, files)
    for one in files:
        if one.candidates:
            made.explain(
                "labels", f"{one.name}: {', '.join(map(repr, one.candidates[:4]))} could be labels too (--label)"
            )


def _counts(files: list[LabelledFile]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for one in files:
        counts.update({one.constant: len(one.look.records)} if one.constant is not None else {})
        if one.constant is None:
            for value, count in one.columns[one.labels[0]].values.items():
                counts[_spelled(value)] += count
    return counts


def _spelled(value: str) -> str:
    """As the reader of labels spells it: TRUE and true are True."""
    return value.capitalize() if value.lower() in ("true", "false") else value


def _names(made: Draft, counts: Counter[str]) -> dict[str, Any]:
    """The names of labels, spellings of one text or number joined under the most frequent one."""
    first: dict[Decimal | str, str] = {}
    for name, _ in counts.most_common():
        first.setdefault(meant(name.casefold()), name)
    kept_of = {name: first[meant(name.casefold())] for name in counts}
    mapping = {name: kept for name, kept in kept_of.items() if kept != name}
    for name, kept in mapping.items():
        made.explain("labels", f"{name!r} and {kept!r} are taken as one label")
    names = sorted(first.values())
    if all(name.isdecimal() for name in names):
        names.sort(key=int)
    part: dict[str, Any] = {"names": names} | ({"mapping": mapping} if mapping else {})
    if len(names) == 2:
        part["positive"] = _positive(names, counts)
        made.explain(
            "labels", f"precision, recall and F1 are of {part['positive']!r}, the rarer label or the one that says yes"
        )
    return part


def _positive(names: list[str], counts: Counter[str]) -> str:
    yes = [name for name in names if name.casefold() in ("true", "1", "yes", "positive")]
    return yes[0] if yes else min(names, key=lambda name: counts[name])


def _balance(made: Draft, counts: Counter[str]) -> None:
    most, least = counts.most_common()[0], counts.most_common()[-1]
    made.explain("labels", "rows: " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common(8)))
    if most[1] > 4 * least[1]:
        made.parts["loss"] = {"weights": "balanced"}
        made.explain(
            "stages", f"{least[0]!r} has {least[1]:,} rows and {most[0]!r} {most[1]:,}: rare labels weigh more"
        )


def _foreign(made: Draft, files: list[LabelledFile]) -> None:
    """Files of which none has all labels may write the same labels differently: only a person knows."""
    written = {one.name: {_spelled(value).casefold() for value in label_spellings(one)} for one in files}
    # One file that has all of them shows that they are different labels.
    if set().union(*written.values()) not in written.values():
        told = "; ".join(f"{name}: {', '.join(sorted(names)[:6])}" for name, names in written.items())
        made.undecided.append(
            f"the files write their labels differently ({told}); if two of the names mean one label, join them under "
            "labels.mapping and take one out of labels.names"
        )


def _shared_columns(files: list[LabelledFile]) -> list[str]:
    """Columns of one label each that all files have, with rows enough to be learnt and measured."""
    if any(len(one.labels) < 2 for one in files):
        return []
    rows = sum(len(one.look.records) for one in files)
    shared = [name for name in files[0].labels if all(name in one.columns for one in files)]
    return [name for name in shared if _FEWEST <= _yes(files, name) <= rows - _FEWEST]


def _many_columns(made: Draft, files: list[LabelledFile], kept: list[str]) -> None:
    """One column a label, true or false each."""
    yes = {name: _yes(files, name) for name in files[0].labels}
    made.parts["labels"] = {"columns": kept, "kind": "multi"}
    made.explain(
        "labels", "one column a label, true or false each; rows: " + ", ".join(f"{name} {yes[name]:,}" for name in kept)
    )
    rare = [f"{name} {count}" for name, count in yes.items() if name not in kept]
    if rare:
        made.explain("labels", f"left out, too few rows to learn from and measure on: {', '.join(rare)}")
    made.undecided.append(
        f"several labels a row, or one? For {kept[0]} alone: labels: {{column: {kept[0]}}} "
        f"(classifact init --label {kept[0]})"
    )


def _yes(files: list[LabelledFile], name: str) -> int:
    cells = (item for one in files if name in one.columns for item in one.columns[name].values.items())
    return sum(count for value, count in cells if value.lower().removesuffix(".0") in ("true", "1"))


def _split(made: Draft, files: list[LabelledFile], main: str, *, several_texts: bool) -> None:
    given = {one.role for one in files}
    split: dict[str, Any] = {}
    if "validation" not in given:
        split["validation"] = _validation(sum(len(one.look.records) for one in files if one.role == "train"))
    if "test" not in given:
        split["test"] = 0.2
    training = [one for one in files if one.role == "train"]
    groups = [name for name in training[0].columns if all(name in one.columns for one in training)]
    group = next((name for name in groups if is_group(_joined(training, name))), None)
    if split and group is not None:
        split["group"] = group
        made.explain("split", f"rows of one {group!r} stay on one side: a split through them would leak")
    # Copies of an article under other headlines would stand on both sides: exact repeats are of title and text.
    elif split and several_texts and _repeats(training) > 0.01:
        split["group"] = main
        made.explain(
            "split", f"{_repeats(training):.0%} of the texts come again under another title and stay on one side"
        )
    if split:
        made.parts["data"]["split"] = split
    times = [name for name in groups if is_time(_joined(training, name))]
    if times:
        made.undecided.append(
            f"{times[0]!r} holds times: if the classifier will meet newer rows than it learnt from, measure that with "
            f"data.split.time: {times[0]} (and without group)"
        )


def _validation(rows: int) -> float:
    """A tenth; more of few rows, since an export is proven on at least 32, and a temperature fitted on at least 50."""
    # Some more than that: shares are of rows and labels, and a split by groups gives only about as many.
    return max(0.1, min(0.3, round(1.2 * LEAST_TEMPERATURE_ROWS / max(1, rows), 2)))


def _joined(files: list[LabelledFile], name: str) -> ColumnLook:
    return summarize(name, (cell for one in files for cell in one.look.cells(name)))


def _repeats(files: list[LabelledFile]) -> float:
    """The share of texts that stand in more than one row with different titles."""
    rows = {
        (*(str(values.get(title, "")) for title in one.titles), str(values.get(one.main, "")))
        for one in files
        for record in one.look.records
        if (values := record.values) is not None
    }
    texts = Counter(row[-1] for row in rows)
    return sum(count - 1 for count in texts.values()) / max(1, len(rows))


def _steps(made: Draft, rows: int) -> None:
    """Epochs and rows of a step: of few rows more epochs and smaller steps, or the network would hardly move."""
    batch = 16 if rows < _FEW_ROWS else 32
    epochs = min(20, max(3, math.ceil(_FEWEST_STEPS * batch / max(1, rows))))
    made.parts["stage"] = {"epochs": epochs, "batch": {"rows": batch, "tokens": 4096}}
    if epochs > 3:
        made.parts["stage"]["early_stopping"] = {"patience": 5}
        made.explain("stages", f"{rows:,} rows are few: {epochs} epochs, fewer where validation stops getting better")


def token_limit(p95: int) -> tuple[int, str]:
    """max_tokens that reads 95 of 100 texts whole, at most what most encoders take; and what is cut."""
    limit = next((size for size in (32, 64, 128, 256) if p95 <= size), _MOST_TOKENS)
    return limit, "head_tail" if p95 > _MOST_TOKENS else "head"
