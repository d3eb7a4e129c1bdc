"""Rows of a Hugging Face data set, by its name on the hub or from a local folder. No code of a data set is run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.contract.errors import InputError, nearest
from trainer.contract.text_files.records import Record
from trainer.recipes.data_part import Source


def read_dataset(source: Source) -> Iterator[Record]:
    """The rows of one split, in order; a line is the row's number from 1. Class labels are read by their names.

    Raises InputError: no such data set, subset or split, no network, a data set that needs code.
    """
    rows = _load(source)
    names = {name: feature.names for name, feature in rows.features.items() if hasattr(feature, "int2str")}
    for line, values in enumerate(rows, 1):
        # -1 is how the library spells a class label that is not known.
        labels = {
            name: known[values[name]] if values[name] is not None and values[name] >= 0 else None
            for name, known in names.items()
        }
        yield Record(line=line, values={**values, **labels})


def _load(source: Source) -> Any:
    # The import takes a second, which a recipe without such a source need not wait for.
    import datasets  # noqa: PLC0415

    name = str(source.dataset)
    if not Path(name).is_absolute() and Path(name).exists():
        # The library would take it, and rows of another working directory would be other rows.
        raise InputError(
            "the data set is named as a file or folder of the working directory is",
            where=name,
            expected="a folder, named from where the recipe lies, or a name on the hub",
            do=f"name the folder as the recipe sees it, or run the command elsewhere to mean the hub's {name!r}",
        )
    try:
        if (Path(name) / "dataset_dict.json").exists() or (Path(name) / "state.json").exists():
            found = datasets.load_from_disk(name)
        else:
            found = datasets.load_dataset(name, source.subset, revision=source.revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            "the data set cannot be loaded",
            where=name,
            found=" ".join(str(error).split())[:300],
            do="check its name, subset and revision, and the network; with HF_HUB_OFFLINE=1 it must lie in the cache",
        ) from error
    if not isinstance(found, dict):
        return found
    if source.split not in found:
        raise InputError(
            f"the data set has no split {source.split!r}",
            where=name,
            found=", ".join(found),
            do=nearest(source.split, found) or "name one of them with `split:`",
        )
    return found[source.split]
