"""A recipe's YAML: read with every problem at once, changed by `--set a.b=c`, written back resolved."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from trainer.contract import schema
from trainer.contract.errors import InputError, RecipeError
from trainer.contract.system.files import atomic_file
from trainer.contract.text_files.formats import holds_rows
from trainer.recipes.data_part import DataPart, Source
from trainer.recipes.recipe import Recipe
from trainer.recipes.sweep_part import SweepPart

_MERGE = "tag:yaml.org,2002:merge"
# Numbers of YAML 1.1 to the base of 8 (0256 is 174) and of 60 (1:30 is 90), which nobody means.
_NOT_DECIMAL = re.compile(r"[-+]?(0[0-7_]+|[\d_]+(:[0-5]?\d)+(\.[\d_]*)?)")
# What changes no statistics may change on a resume: how much memory a step takes, what is kept, who is told, and where
# the rows lie, which are compared themselves. A training run reads no `sweep`; `decisions` come after training.
_FREE = re.compile(
    r"(name|tracking|sweep|decisions|evaluation\.swaps|select\.keep|model\.sha256)(\..+)?"
    r"|stages\.\d+\.(batch\.tokens|gradient_checkpointing|freeze\.cache)"
    r"|(stages\.\d+\.)?data\.(train|validation|test)\.\d+\.files(\..+)?"
)


def load(path: Path, settings: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and apply `a.b=c` settings. File names become absolute ones.

    Raises InputError where there is no such file, or one of rows, RecipeError with every problem otherwise.
    """
    content, problems = _read_yaml(path)
    for setting in settings:
        _apply(content, setting, problems)
    return _with_absolute_files(_bind(content, problems, path), path.parent)


def changed(recipe: Recipe, values: dict[str, Any], where: str) -> Recipe:
    """The recipe with other values, each by its key (`stages.0.epochs`).

    Raises RecipeError, naming `where` the values are from, with every problem of them.
    """
    content, problems = recipe.plain(), list[str]()
    for key, value in values.items():
        if not _put(content, key, value):
            problems.append(f"there is no {key!r} to set")
    return _bind(content, problems, where)


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe, which loads again as it is."""
    with atomic_file(path) as file:
        file.write(recipe_text(recipe).encode())


def recipe_text(recipe: Recipe) -> str:
    """The recipe as YAML."""
    return yaml.safe_dump(recipe.plain(), sort_keys=False, allow_unicode=True)


def recipe_differences(ours: Any, theirs: Any, key: str = "") -> list[str]:
    """The keys in which two plain recipes differ, each with both values."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = sorted({*ours, *theirs})
        return [
            line
            for name in names
            for line in recipe_differences(ours.get(name), theirs.get(name), f"{key}.{name}".strip("."))
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [line for place, (one, other) in pairs for line in recipe_differences(one, other, f"{key}.{place}")]
    return [] if ours == theirs else [f"{key}: now {ours!r}, then {theirs!r}"]


def is_free(difference: str) -> bool:
    """Whether a difference that `recipe_differences` tells may stand between a run and what is resumed."""
    return _FREE.fullmatch(difference.partition(": ")[0]) is not None


def _bind(content: Any, problems: list[str], where: object) -> Recipe:
    recipe = schema.bind(Recipe, content, problems)
    if recipe is None or problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RecipeError("\n".join([f"the recipe has {count}", *(f"  - {text}" for text in problems)]), where=where)
    return recipe


def _read_yaml(path: Path) -> tuple[Any, list[str]]:
    """A recipe's content, and what is wrong with its keys."""
    # Whoever begins has rows and no recipe yet, and a table may well be YAML of one long text.
    if holds_rows(path.name) and path.is_file():
        do = f"write a recipe for it: classifact init {path}"
        raise InputError("this is a file of rows, not a recipe", where=path, do=do)
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        do = "check the path; `classifact init ROWS` writes one"
        raise InputError("there is no such recipe", where=path, do=do) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(
            "the recipe is not YAML", where=path, found=" ".join(str(error).split()), do="mend the line it names"
        ) from None


def _parse(text: str) -> tuple[Any, list[str]]:
    loader = _Loader(text)
    try:
        return loader.get_single_data(), loader.problems
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, refusing repeated keys: of two, the first would be lost without a word.

    Keys are text. problems: the keys that YAML reads as something else than what is written.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.problems: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping as SafeLoader does, after looking for repeats and for keys that are not what they look
        like.
        """
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                # As in `name: {{ name }}`.
                text = "a key is a list or a mapping; is it a template that nobody filled in?"
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
            told, read = len(self.problems), self.construct_object(key, deep=True)
            if len(self.problems) == told and str(read).casefold() != key.value.casefold() and key.tag != _MERGE:
                self.problems.append(
                    f"line {key.start_mark.line + 1}: YAML reads the key {key.value} as {read!r}; "
                    f"put {key.value!r} in quotes"
                )
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value as SafeLoader does, naming the line of one that looks like a date or a number and is none."""
        known = node in self.constructed_objects
        try:
            value = super().construct_object(node, deep)
        except ValueError as error:
            text = f"{str(node.value)[:40]!r} is no value ({error}); if it is text, put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark) from error
        if not known and isinstance(value, int | float) and _NOT_DECIMAL.fullmatch(node.value):
            self.problems.append(
                f"line {node.start_mark.line + 1}: YAML reads {node.value} as {value}; write that, or put "
                f"{node.value!r} in quotes"
            )
        return value


def _apply(content: Any, setting: str, problems: list[str]) -> None:
    """Put one `a.b=c` into the tree; a number is a place in a list."""
    path, equals, text = setting.partition("=")
    value: Any = None
    try:
        value, found = _parse(text)
        problems += [f"--set {setting}: {problem}" for problem in found]
    except (yaml.YAMLError, RecursionError):
        equals = ""
    if not equals:
        problems.append(f"--set {setting}: expected a.b=value, with a YAML value")
        return
    if not _put(content, path, value):
        problems.append(f"--set {setting}: there is no {path!r} to set")


def _put(content: Any, path: str, value: Any) -> bool:
    """Put a value under `a.b`, making the mappings on the way; tells whether there is such a place."""
    *parents, last = path.split(".")
    place = content
    for name, below in zip(parents, path.split(".")[1:], strict=True):
        if isinstance(place, dict) and not isinstance(place.get(name), dict | list):
            # `stages.0.epochs=1` must reach the first stage of a recipe that names none.
            place[name] = [{}] if below == "0" else {}
        place = _at(place, name)
    if isinstance(place, dict):
        place[last] = value
    elif isinstance(place, list) and _at(place, last) is not None:
        place[int(last)] = value
    else:
        return False
    return True


def _at(place: Any, name: str) -> Any:
    if isinstance(place, list):
        return place[int(name)] if name.isdecimal() and int(name) < len(place) else None
    return place.get(name) if isinstance(place, dict) else None


def without_folders(recipe: Recipe) -> Recipe:
    """The recipe as it may leave the machine: files, data sets and models on its disk by their last name alone."""

    def last(name: str) -> str:
        """A name without its folders."""
        return (Path(name).name or name) if Path(name).is_absolute() else name

    return _renamed(recipe, file=last, dataset=last, model=last)


def _with_absolute_files(recipe: Recipe, folder: Path) -> Recipe:
    """File names given relative to the recipe, as absolute ones: the copy in the run lies elsewhere."""

    def file(name: str) -> str:
        """A file's name from the root."""
        # Only the folder is resolved: a linked file keeps the name whose suffix tells its format.
        return str((folder / name).parent.resolve() / Path(name).name)

    def dataset(name: str) -> str:
        """A data set's folder from the root, or its name on the hub."""
        # A folder beside the recipe is meant before a hub name, as the library itself would take it.
        return file(name) if (folder / name).is_dir() else name

    def model(name: str) -> str:
        """A model's folder from the root, or its name elsewhere."""
        # A bare name may be the hub's; one that is a folder beside the recipe means that, whatever the hub has.
        if name.startswith("pkg://"):
            return name
        is_path = name.startswith((".", "~")) or (folder / name).is_dir()
        return str((folder / Path(name).expanduser()).resolve()) if is_path else name

    return _renamed(recipe, file=file, dataset=dataset, model=model)


def _renamed(
    recipe: Recipe, *, file: Callable[[str], str], dataset: Callable[[str], str], model: Callable[[str], str]
) -> Recipe:
    """The recipe with other names of its files, data sets and models, wherever in it they stand."""

    def sources(given: tuple[Source, ...]) -> tuple[Source, ...]:
        """Labelled files and data sets by their other names."""
        return tuple(
            dataclasses.replace(
                source,
                files=tuple(map(file, source.files)),
                dataset=dataset(source.dataset) if source.dataset else source.dataset,
            )
            for source in given
        )

    def part(data: DataPart) -> DataPart:
        """The data part of a recipe or stage, likewise."""
        return dataclasses.replace(
            data,
            train=sources(data.train),
            validation=sources(data.validation) if data.validation else None,
            test=sources(data.test) if data.test else None,
        )

    def sweep(given: SweepPart | None) -> SweepPart | None:
        """The search, whose models are named likewise."""
        # A search may choose among models.
        models = given.space.get("model.name") if given else None
        if given is None or models is None or models.choices is None:
            return given
        choices = tuple(model(choice) if isinstance(choice, str) else choice for choice in models.choices)
        return dataclasses.replace(
            given, space={**given.space, "model.name": dataclasses.replace(models, choices=choices)}
        )

    stages = tuple(
        dataclasses.replace(stage, data=part(stage.data)) if stage.data else stage for stage in recipe.stages
    )
    named = dataclasses.replace(recipe.model, name=model(recipe.model.name))
    return dataclasses.replace(recipe, model=named, data=part(recipe.data), stages=stages, sweep=sweep(recipe.sweep))
