"""Which files there are, what each is for, and one name for a column that they call differently."""

import dataclasses
import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from trainer.contract.errors import ClassifactError, InputError, nearest
from trainer.drafting.columns import ColumnLook, label_columns, summarize, text_columns, unread_texts
from trainer.drafting.dialect import FileLook, look

DRAFTED_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx")
_ROLES = (
    ("test", re.compile(r"(^|[^a-z])test|test([^a-z]|$)", re.IGNORECASE)),
    ("validation", re.compile(r"(^|[^a-z])(dev|val|valid|validation|development)([^a-z]|$)", re.IGNORECASE)),
)


@dataclass(frozen=True, kw_only=True)
class LabelledFile:
    """A file that the recipe reads."""

    look: FileLook
    columns: dict[str, ColumnLook]
    main: str
    """The column of the text."""
    titles: tuple[str, ...]
    """Columns that are read before it, in their order."""
    labels: tuple[str, ...]
    """Its label columns, by their names in it."""
    candidates: tuple[str, ...] = ()
    """Columns that could be the label too."""
    unread: tuple[str, ...] = ()
    """Columns of texts that are not read."""
    constant: str | None = None
    """A label for all of its rows, from its name, where no column has one."""
    role: str = "train"

    @property
    def name(self) -> str:
        """The file's name in messages."""
        return self.look.path.name

    @property
    def texts(self) -> set[str]:
        """Every different text of the main column."""
        return set(self.columns[self.main].values)


@dataclass(frozen=True, kw_only=True)
class Found:
    """The files to read, and a line for each that is left out, and for what could not be decided."""

    files: list[LabelledFile]
    left_out: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)


def find(names: Iterable[str]) -> list[Path]:
    """The files of names, patterns and folders, in order. Raises InputError where there are none."""
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if not name:
            # Taken as a path it would be the folder at hand, with all that lies in it.
            raise InputError("a file has no name", found="''", do="name it; a variable of the shell may be empty")
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.is_file() and _is_table(one))
        elif path.exists():
            found.append(path)
        else:
            matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
            if not matches:
                raise InputError(
                    "there is no such file",
                    where=name,
                    do=nearest(path.name, os.listdir(path.parent) if path.parent.is_dir() else ()) or "check the path",
                )
            found += matches
    if not found:
        raise InputError("no file of rows is here", where=", ".join(names), expected=", ".join(DRAFTED_SUFFIXES))
    return list(dict.fromkeys(found))


def is_text(name: str) -> bool:
    """Whether a file's name can stand in a file of text; the bytes of some cannot."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _is_table(path: Path) -> bool:
    return any(suffix.lower() in DRAFTED_SUFFIXES for suffix in path.suffixes[-2:])


def sort_out(paths: list[Path], text: tuple[str, ...], label: str | None) -> Found:
    """Look at every file, and find its text and its labels; text, label: columns that the user named.

    Raises InputError where no file has a text and labels, or a column that was named.
    """
    looks, left_out = list[FileLook](), list[str]()
    for path in paths:
        if not is_text(path.name):
            left_out.append(f"{path.name}: its name is no UTF-8, which a recipe cannot hold (rename it)")
            continue
        try:
            looks.append(look(path))
        except ClassifactError as error:
            left_out.append(f"{path.name}: {error.what} ({error.details['found'] or error.details['do']})")
    _refuse_misnamed(looks, (*text, label) if label is not None else text)
    # Only when all were looked at: the file that has the header may come last.
    looks = [_like_its_neighbours(one, looks) for one in looks]
    files, bare = list[LabelledFile](), list[LabelledFile]()
    for one in looks:
        found = _columns_of(one, text, label)
        if found is None:
            wanted = f"no column {' or '.join(text)}" if text else "no column that looks like text"
            left_out.append(f"{one.path.name}: {wanted} (it has {', '.join(map(repr, one.columns))})")
        else:
            (files if found.labels else bare).append(found)
    named, undecided = _labels_from_names(bare) if len(bare) > 1 and label is None else ([], [])
    files += named
    left_out += [f"{one.name}: no column that looks like a label" for one in bare if not named]
    files, repeats = _without_repeats(files)
    if not files:
        raise InputError(
            "no file has both a text and labels",
            where=", ".join(map(str, paths[:3])),
            found="; ".join(left_out),
            do="name the columns with --text and --label",
        )
    return Found(files=_with_roles(files), left_out=left_out + repeats, undecided=undecided)


def _refuse_misnamed(looks: list[FileLook], named: tuple[str, ...]) -> None:
    """Raise InputError for a column that the user named and no file has."""
    columns = list(dict.fromkeys(column for one in looks for column in one.columns))
    for name in named:
        if looks and name not in columns:
            raise InputError(
                "no file has this column",
                where=", ".join(str(one.path) for one in looks[:3]),
                found=name,
                expected=f"one of {', '.join(map(repr, columns))}"[:300],
                do=nearest(name, columns) or "check --text and --label",
            )


def _like_its_neighbours(one: FileLook, looks: list[FileLook]) -> FileLook:
    """A file without header under the names of one with a header and as many columns; else under names of its own."""
    if one.named:
        return one
    others = [other for other in looks if other.named and len(other.columns) == len(one.columns)]
    names = others[0].columns if others else _own_names(one)
    source = dataclasses.replace(one.source, columns=names)
    records = [
        record
        if record.values is None
        else dataclasses.replace(record, values=dict(zip(names, record.values.values(), strict=True)))
        for record in one.records
    ]
    told = f"columns are named as in {others[0].path.name}" if others else "the names of the columns are ours"
    return dataclasses.replace(one, source=source, records=records, why=[*one.why, told])


def _own_names(one: FileLook) -> tuple[str, ...]:
    columns = [summarize(name, one.cells(name)) for name in one.columns]
    texts = text_columns(columns)[-1:]
    labels = [found.name for found in label_columns(columns, texts)[:1]]
    roles = dict.fromkeys(texts, "text") | dict.fromkeys(labels, "label")
    return tuple(roles.get(name, name) for name in one.columns)


def _columns_of(one: FileLook, text: tuple[str, ...], label: str | None) -> LabelledFile | None:
    """Its text and labels; None where it has no text, no labels where it has none."""
    columns = {name: summarize(name, one.cells(name)) for name in one.columns}
    given = [name for name in text if name in columns]
    texts = given if text else text_columns(list(columns.values()))
    if not texts:
        return None
    candidates = label_columns(list(columns.values()), texts)
    labels: tuple[str, ...]
    booleans = [found for found in candidates if found.is_boolean]
    if label is not None:
        labels = (label,) if label in columns else ()
    # Three columns of yes and no, the likeliest first, are one label each; one or two are flags beside a label.
    elif len(booleans) >= 3 and booleans[0] is candidates[0]:
        labels = tuple(found.name for found in booleans)
    else:
        labels = tuple(found.name for found in candidates[:1])
    return LabelledFile(
        look=one,
        columns=columns,
        # `text_columns` gives titles first and the text last.
        main=texts[-1],
        titles=tuple(texts[:-1]),
        labels=labels,
        candidates=tuple(found.name for found in candidates if found.name not in labels),
        unread=() if text else tuple(unread_texts(list(columns.values()), texts)),
    )


def _labels_from_names(files: list[LabelledFile]) -> tuple[list[LabelledFile], list[str]]:
    """Several files without labels: each file's name is its label, less what all the names share."""
    stems = [one.look.path.name.split(".")[0] for one in files]
    if any(_role(one) != "train" for one in files):
        return [], []
    start = _shared_start(stems)
    # Backwards: how the names end alike, once their common start is gone.
    end = _shared_start([stem[len(start) :][::-1] for stem in stems])
    names = [stem[len(start) : len(stem) - len(end)].strip("_-. ") or stem for stem in stems]
    told = ", ".join(f"{one.name}: {name}" for one, name in zip(files, names, strict=True))
    made = [dataclasses.replace(one, constant=name, labels=("label",)) for one, name in zip(files, names, strict=True)]
    return made, [f"these files have no label column; the file's name is taken as the label of all its rows ({told})"]


def _shared_start(names: list[str]) -> str:
    """The characters with which all names begin."""
    places = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in places)


def _without_repeats(files: list[LabelledFile]) -> tuple[list[LabelledFile], list[str]]:
    """Leave out a file whose every text stands in a larger one: a sample or a cleaned copy of it."""
    kept, told = list[LabelledFile](), list[str]()
    # The largest first, so that what is left out is the sample and not the whole.
    for one in sorted(files, key=lambda file: -len(file.look.records)):
        whole = next((other for other in kept if one.texts <= other.texts), None)
        if whole is None:
            kept.append(one)
        else:
            told.append(f"{one.name}: all of its texts are in {whole.name} too")
    return [one for one in files if one in kept], told


def _role(one: LabelledFile) -> str:
    stem = one.look.path.name.split(".")[0]
    return next((role for role, pattern in _ROLES if pattern.search(stem)), "train")


def _with_roles(files: list[LabelledFile]) -> list[LabelledFile]:
    """Files that are called test or validation are those splits, where training files know all of their labels."""
    roles = [_role(one) for one in files]
    known = {value for one, role in zip(files, roles, strict=True) if role == "train" for value in label_spellings(one)}
    # A file called test with labels of its own is another data set, or spells them otherwise: no measure of this one.
    fit = [role if set(label_spellings(one)) <= known else "train" for one, role in zip(files, roles, strict=True)]
    return [dataclasses.replace(one, role=role) for one, role in zip(files, fit, strict=True)]


def label_spellings(one: LabelledFile) -> list[str]:
    """How the labels are written in a file with one label column."""
    if one.constant is not None:
        return [one.constant]
    return list(one.columns[one.labels[0]].values)
