"""Recipes: every problem at once, settings from the command line, and a resolved copy that loads again."""

from pathlib import Path

import pytest
import yaml

from trainer.contract.errors import InputError, RecipeError
from trainer.recipes.file import load, recipe_differences, save_recipe
from trainer.recipes.recipe import Recipe

ROOT = Path(__file__).parents[3]
LEAST = {
    "model": {"name": "m"},
    "data": {"train": {"files": "a.csv"}},
    "input": {"text": "t"},
    "labels": {"column": "l"},
}
DESIGN = """
name: s2_medical
seed: 42
model: {name: bert-base-uncased}
data:
  train: {files: medical.csv, delimiter: ";"}
  split: {validation: 0.1, test: 0.2, stratify: true, seed: 42}
input: {text: [title, abstract], join: " ", on_null: empty, max_tokens: 256, truncation: head}
labels: {column: group, kind: multi, separator: "|", names: [cardiovascular, neurological, hepatorenal, oncological]}
stages:
  - epochs: 3
    batch: {rows: 16, tokens: 4096}
    optimizer: {learning_rate: 2.0e-5, weight_decay: 0.01, warmup: 0.1, schedule: linear, clip_norm: 1.0}
    loss: {weights: balanced}
    freeze: {embeddings: true, keep_last_layers: 2}
    early_stopping: {patience: 3}
select: {metric: f1_micro, keep: 2}
tracking: []
"""


def written(folder: Path, content: object) -> Path:
    """A recipe file with this content (text as it is)."""
    path = folder / "recipe.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def problems(path: Path, *settings: str) -> str:
    """What loading the recipe complains of."""
    with pytest.raises(RecipeError) as error:
        load(path, settings)
    return str(error.value)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Misspelt keys get the nearest name, wrong kinds say what was found, and one run tells them all."""
    text = problems(
        written(
            tmp_path,
            {
                "model": {"nam": "x"},
                "data": {"train": {"files": "a.csv", "delimeter": ";"}},
                "input": {"text": "t", "max_tokens": "lots"},
                "labels": {"column": "l", "names": ["yes", True]},
                "select": {"metric": "f1_makro"},
            },
        )
    )
    for part in (
        "6 problems",
        "model.nam: unknown key; did you mean 'name'?",
        "model.name: missing",
        "delimeter: unknown key; did you mean 'delimiter'?",
        "input.max_tokens: expected a whole number, found 'lots'",
        "labels.names[1]: expected text, found True; put it in quotes",
        "did you mean 'f1_macro'?",
        "recipe.yaml",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("a: [1", "not YAML"),
        ("- a", "expected keys and values"),
        ("", "expected keys and values"),
        ("name: a\nname: b", "'name' stands twice"),
        ("name: {{ name }}", "a template that nobody filled in"),
        ("? [a, b]\n: c", "a key is a list or a mapping"),
        ("name: 2024-02-30", "'2024-02-30' is no value (day is out of range for month)"),
        ("seed: 0b_", "'0b_' is no value"),
        ("seed: 0256", "line 1: YAML reads 0256 as 174"),
        ("seed: 1:30", "YAML reads 1:30 as 90"),
        ("seed: &x 010\nname: *x", "YAML reads 010 as 8"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("\x00", "not YAML"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, content: str, part: str) -> None:
    """Broken YAML, another shape, a repeated key and an object to construct are errors that name the file."""
    assert part in problems(written(tmp_path, content))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A recipe that is not UTF-8 is an error of ours, not a traceback."""
    (tmp_path / "recipe.yaml").write_bytes(b"name: \xff")
    assert "not YAML" in problems(tmp_path / "recipe.yaml")


def test_a_missing_recipe_is_an_input_error(tmp_path: Path) -> None:
    """A path that leads nowhere says so."""
    with pytest.raises(InputError, match="no such recipe"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("data", {"train": {"files": "a.csv"}, "split": {"validation": 0.6, "test": 0.4}}, "leave rows to train on"),
        ("stages", [], "at least one"),
        ("stages", [{"epochs": 0}], "at least 1"),
        ("stages", [{"optimizer": {"learning_rate": -1}}], "learning_rate: expected above 0 and at most 1, found -1"),
        ("stages", [{"optimizer": {"clip_norm": 0}}], "clip_norm: expected above 0, found 0"),
        ("stages", [{"optimizer": {"betas": [0.9, 5]}}], "betas[1]: expected at least 0 and below 1, found 5"),
        ("stages", [{"optimizer": {"epsilon": 0}}], "epsilon: expected at least 1e-30, found 0"),
        ("stages", [{"optimizer": {"epsilon": 1e-300}}], "epsilon: expected at least 1e-30"),
        ("stages", [{"optimizer": {"learning_rate": 1e300}}], "learning_rate: expected above 0 and at most 1"),
        ("stages", [{"loss": {"focal": 1e30}}], "focal: expected at least 0 and at most 100"),
        ("stages", [{"loss": {"weights": {"a": 1e300}}}], "weights.a: expected at least 1e-06 and at most 1e+06"),
        ("stages", [{"loss": {"weights": {"a": 1e-300}}}], "weights.a: expected at least 1e-06"),
        ("stages", [{"optimizer": {"weight_decay": -0.1}}], "weight_decay: expected at least 0"),
        ("stages", [{"optimizer": {"warmup": 1.5}}], "warmup: expected a share below 1 or whole steps"),
        ("stages", [{"loss": {"weights": {"a": 0}}}], "loss.weights.a: expected at least 1e-06"),
        ("stages", [{"loss": {"weights": {"a": 2, "b": -1}}}], "loss.weights.b: expected at least 1e-06"),
        ("stages", [{"early_stopping": {"patience": 0}}], "patience: expected at least 1, found 0"),
        ("stages", [{"early_stopping": {"min_delta": -1}}], "min_delta: expected at least 0"),
        ("stages", [{"lora": {"alpha": 0}}], "alpha: expected above 0"),
        ("stages", [{"evaluate_every": 0}], "evaluate_every: expected at least 1"),
        ("model", {"name": "m", "dropout": 7}, "model.dropout: expected at least 0 and below 1, found 7"),
        ("seed", -1, "seed: expected at least 0"),
        ("data", {"train": {"files": "a.csv"}, "split": {"seed": -1}}, "split.seed: expected at least 0"),
        ("sweep", {"space": {"seed": {"choices": [1]}}, "seeds": [-1], "trials": 0}, "sweep.seeds[0]: expected"),
        ("stages", [{"loss": {"label_smoothing": 1}}], "label_smoothing"),
        ("select", {"keep": 0}, "at least 1"),
        ("evaluation", {"slices": ["a", "a"]}, "named twice"),
        ("evaluation", {"swaps": {"he": "He"}}, "two words that differ"),
        ("evaluation", {"swaps": {str(number): "x" for number in range(21)}}, "at most 20, found 21"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path: Path, part: str, value: object, message: str) -> None:
    """Numbers that cannot work are found when the recipe is read, not an hour later."""
    assert message in problems(written(tmp_path, {**LEAST, part: value}))


def test_numbers_out_of_bounds_are_told_with_all_other_problems(tmp_path: Path) -> None:
    """Bounds belong to the fields: numbers of several parts and a misspelt key are told in one go."""
    content = {**LEAST, "seed": -1, "stages": [{"epochs": 0, "batch": {"rows": 0, "tokens": 0}, "epoch": 3}]}
    text = problems(written(tmp_path, content))
    for part in ("5 problems", "seed:", "stages[0].epochs:", "batch.rows:", "batch.tokens:", "epoch: unknown key"):
        assert part in text


@pytest.mark.parametrize("key", ["no", "yes", "on", "~", "010", "1_000", "1.50"])
def test_a_key_that_yaml_reads_otherwise_wants_quotes(tmp_path: Path, key: str) -> None:
    """Keys are text: one that YAML takes for a boolean, nothing or another number is told with its line, in
    the file and in a setting.
    """
    text = yaml.safe_dump(LEAST)
    told = problems(written(tmp_path, f"{text}sweep: {{space: {{{key}: {{choices: [1]}}}}}}\n"))
    assert f"put '{key}' in quotes" in told
    assert f"line {text.count(chr(10)) + 1}: " in told
    assert f"put '{key}' in quotes" in problems(written(tmp_path, text), f"labels.mapping={{{key}: a}}")


def test_plain_numbers_as_keys_stay_text(tmp_path: Path) -> None:
    """0 and True are what they look like, with and without quotes."""
    path = written(tmp_path, {**LEAST, "labels": {"column": "l", "mapping": {0: "a", "1": "b", True: "c"}}})
    assert load(path).labels.mapping == {"0": "a", "1": "b", "True": "c"}


def test_a_metric_of_one_label_is_refused_for_multi_label(tmp_path: Path) -> None:
    """f1 needs one positive label; with kind multi the recipe says which metrics there are instead."""
    content = {**LEAST, "labels": {"column": "l", "kind": "multi"}, "select": {"metric": "f1"}}
    assert "f1_micro" in problems(written(tmp_path, content))


def test_settings_change_what_they_name(tmp_path: Path) -> None:
    """--set reaches nested keys, list places and absent parts; a number without a dot is still a number."""
    path = written(tmp_path, {**LEAST, "stages": [{"epochs": 1}, {"epochs": 2}]})
    recipe = load(
        path, ("stages.1.epochs=5", "seed=7", "select.metric=accuracy", "stages.0.optimizer.learning_rate=2e-5")
    )
    assert [stage.epochs for stage in recipe.stages] == [1, 5]
    assert (recipe.seed, recipe.select.metric, recipe.stages[0].optimizer.learning_rate) == (7, "accuracy", 2e-5)


def test_settings_reach_the_first_stage_of_a_recipe_without_stages(tmp_path: Path) -> None:
    """stages.0 is the default stage where the recipe names none."""
    assert [stage.epochs for stage in load(written(tmp_path, LEAST), ("stages.0.epochs=9",)).stages] == [9]


@pytest.mark.parametrize("setting", ["seed", "stages.4.epochs=1", "seed.x.y=1: 2: 3", "sed=4", "stages.0.epoch=2"])
def test_settings_that_reach_nothing_are_refused(tmp_path: Path, setting: str) -> None:
    """A setting without a value, past the end of a list, of broken YAML or of an unknown key is an error."""
    assert "problem" in problems(written(tmp_path, {**LEAST, "stages": [{"epochs": 1}]}), setting)


def test_the_design_s_recipe_loads_and_its_copy_is_the_same(tmp_path: Path) -> None:
    """The recipe that the stable keys are drawn from loads; saved resolved and loaded again it is equal."""
    recipe = load(written(tmp_path, DESIGN))
    assert recipe.stages[0].freeze.keep_last_layers == 2
    assert recipe.data.train[0].files == (str(tmp_path / "medical.csv"),)
    save_recipe(recipe, tmp_path / "copy.yaml")
    assert load(tmp_path / "copy.yaml") == recipe


def test_only_four_parts_are_needed(tmp_path: Path) -> None:
    """Model, data, input and labels are enough: everything else has a default."""
    assert isinstance(load(written(tmp_path, LEAST)), Recipe)


def test_differences_name_key_and_values() -> None:
    """Two recipes are compared key by key, into lists."""
    assert recipe_differences({"a": 1, "b": [{"c": 1}]}, {"a": 1, "b": [{"c": 2}], "d": 0}) == [
        "b.0.c: now 1, then 2",
        "d: now None, then 0",
    ]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "launch_configs" / "recipes").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_shipped_recipe_loads_and_opens_with_its_command(path: Path) -> None:
    """A recipe's first line is the command that runs it, and the recipe is valid."""
    load(path)
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# accelerate launch --config_file launch_configs/")
    assert f"--config launch_configs/recipes/{path.name}" in first
