"""The sources of a drafted recipe: files under one name for each column, those that are written alike together."""

from typing import Any

from trainer.drafting.files import LabelledFile


def canonical(files: list[LabelledFile], names: list[str], fallback: str) -> str:
    """One name for a column that files call differently: that of the file with the most rows, if no file gives it to
    another column.
    """
    largest = max(range(len(files)), key=lambda place: len(files[place].look.records))
    for name in (names[largest], fallback, f"the_{fallback}"):
        if all(own == name or name not in one.columns for one, own in zip(files, names, strict=True)):
            return name
    return f"classifact_{fallback}"


def text_names(files: list[LabelledFile]) -> tuple[str, str | None]:
    """The names under which the recipe knows the text and, where a file has one, the title."""
    main = canonical(files, [one.main for one in files], "text")
    titled = [one for one in files if one.title is not None]
    if not titled:
        return main, None
    return main, canonical(titled, [str(one.title) for one in titled], "title")


def source(one: LabelledFile, main: str, title: str | None, label: str | None) -> dict[str, Any]:
    """A file as the recipe names it, its columns under the recipe's names."""
    given = one.look.source
    plain: dict[str, Any] = {"files": list(given.files)}
    if given.delimiter is not None:
        plain["delimiter"] = given.delimiter
    if not given.header:
        plain |= {"header": False, "columns": list(given.columns or ())}
    if given.quoting != "minimal":
        plain["quoting"] = given.quoting
    if given.encoding != "utf-8":
        plain["encoding"] = given.encoding
    pairs = [(one.main, main), (one.title, title), (None if one.constant else one.labels[0], label)]
    rename = {own: name for own, name in pairs if own is not None and name is not None and own != name}
    constant = {title: ""} if title is not None and one.title is None else {}
    if one.constant is not None and label is not None:
        constant[label] = one.constant
    return plain | ({"rename": rename} if rename else {}) | ({"constant": constant} if constant else {})


def merged_sources(sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Files that are written alike are one source."""
    found: list[dict[str, Any]] = []
    for source in sources:
        alike = next((one for one in found if {**one, "files": 0} == {**source, "files": 0}), None)
        if alike is None:
            found.append(source)
        else:
            alike["files"] += source["files"]
    return found
