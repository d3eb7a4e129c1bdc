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


def text_names(files: list[LabelledFile]) -> tuple[str, list[str]]:
    """The names under which the recipe knows the text, and the columns that some files have before it."""
    main = canonical(files, [one.main for one in files], "text")
    titles: list[str] = []
    for place in range(max(len(one.titles) for one in files)):
        having = [one for one in files if len(one.titles) > place]
        fallback = f"title_{place + 1}" if place else "title"
        titles.append(canonical(having, [one.titles[place] for one in having], fallback))
    return main, titles


def source(one: LabelledFile, main: str, titles: list[str], label: str | None) -> dict[str, Any]:
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
    pairs = [(one.main, main), *zip(one.titles, titles, strict=False)]
    pairs += [(one.labels[0], label)] if label is not None and not one.constant else []
    rename = {own: name for own, name in pairs if own != name}
    constant = dict.fromkeys(titles[len(one.titles) :], "")
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
