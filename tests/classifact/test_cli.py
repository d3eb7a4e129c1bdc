"""The console script: every command behind one name, and nothing loaded before it is needed."""

import importlib
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import classifact
from classifact.cli import COMMANDS, group
from serve.option_groups import GROUPS
from tests.contract.system.test_installed import uninstall
from tests.trainer import runs
from trainer.processes.launch import default_config, find_config

ROOT = Path(__file__).parents[2]


def run(*words: str, cwd: Path = ROOT, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The console script in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", "import sys; from classifact.cli import main; sys.exit(main())", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code, result.stderr
    return result


def command(name: str) -> click.Command:
    """A command of the table."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found: click.Command = getattr(importlib.import_module(module), attribute)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_the_first_sentence_of_its_help(name: str) -> None:
    """The table's sentence is the command's own, whole, and fits the line of an 80-column terminal."""
    sentence = COMMANDS[name][1]
    assert (command(name).help or "").split("\n")[0] == sentence
    assert sentence.endswith(".")
    assert "..." not in sentence
    assert len(sentence) <= 80 - 12


def test_help_lists_all_commands_and_imports_none() -> None:
    """`-h` names every command, cuts no sentence, and loads neither a command nor a library beside click."""
    code = (
        "import sys; from classifact.cli import group; group(['-h'], standalone_mode=False); "
        "print(sorted({'trainer', 'export', 'serve', 'numpy', 'torch', 'pyarrow'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert all(sentence in result.stdout for _, sentence in COMMANDS.values())


@pytest.mark.slow
def test_help_answers_at_once() -> None:
    """The best of five takes less than 0.3 s more than a Python that does nothing."""

    def best(code: str, *words: str) -> float:
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, check=True)
            seconds.append(time.perf_counter() - started)
        return min(seconds)

    assert best("import sys; from classifact.cli import main; main()", "-h") - best("pass") < 0.3


@pytest.mark.parametrize("module", ["trainer.cli", "serve.cli"])
def test_the_packages_own_groups_cut_no_sentence(module: str) -> None:
    """`python -m trainer -h` and `python -m serve -h` show whole sentences at 80 columns too."""
    main = importlib.import_module(module).main
    result = CliRunner().invoke(main, ["-h"], terminal_width=80)
    assert "..." not in result.output.partition("Commands:")[2]
    assert result.output.partition("Commands:")[2].count(".\n") >= len(main.commands)


def test_an_unknown_command_is_a_usage_error() -> None:
    """Exit code 2, and the name that was meant."""
    assert "scoer" in run("scoer", code=2).stderr


def test_versions_are_printed_without_importing_what_they_are_of() -> None:
    """`--version` names Classifact, Python and the libraries that decide how a run behaves."""
    found = dict(line.split() for line in run("--version").stdout.splitlines())
    assert found["classifact"] == classifact.__version__
    assert {"python", "onnxruntime", "torch", "transformers", "tokenizers"} <= set(found)


def test_a_checkout_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--version` says so in one line, and Python finds no `__version__`, as `getattr` with a default expects."""
    uninstall(monkeypatch)
    assert CliRunner().invoke(group, ["--version"]).output.splitlines()[0] == "classifact      not installed"
    assert getattr(classifact, "__version__", None) is None


@pytest.mark.parametrize(
    ("words", "library", "extra"),
    [
        (["train", "recipe.yaml", "--out", "run"], "torch", "train"),
        (["lint", "recipe.yaml"], "yaml", "train"),
        (["export", "run", "--out", "bundle"], "onnx", "export"),
        (["predict", "bundle", "--text", "x"], "onnxruntime", "serve"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_library_that_is_not_installed_is_named(words: list[str], library: str, extra: str) -> None:
    """On a machine that only scores, `train` says what brings its libraries; no command ends in a traceback."""
    code = f"import sys; sys.modules[{library!r}] = None; from classifact.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: a library that this command needs cannot be used"), result.stderr
    assert f"classifact[{extra}]" in result.stderr
    assert library in result.stderr


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose library is not installed says which extra brings it."""
    monkeypatch.setitem(COMMANDS, "lint", ("no_such_library:main", "Say what is wrong with the rows of RECIPE."))
    result = CliRunner().invoke(group, ["lint", "-h"])
    assert result.exit_code == 1
    assert "No module named 'no_such_library'" in result.output
    assert "pip install 'classifact[" in result.output


def numeric_options() -> list[tuple[str, str]]:
    """A command and an option of it that takes a number, for all that there are."""
    kinds = (click.types.IntParamType, click.types.FloatParamType)
    found = [(name, option) for name in COMMANDS for option in command(name).params if isinstance(option.type, kinds)]
    return [(name, option.opts[0]) for name, option in found]


@pytest.mark.parametrize(("name", "option"), numeric_options())
def test_an_option_that_is_no_number_is_a_usage_error(name: str, option: str) -> None:
    """NaN, infinity and what lies below every range are exit code 2 and name the option, before anything is opened."""
    needed: list[str] = []
    for each in command(name).params:
        if each.required:
            needed += ["no-such-thing"] if isinstance(each, click.Argument) else [each.opts[0], "no-such-thing"]
    for value in ("nan", "inf", "-inf", "1e400", "-1"):
        result = CliRunner().invoke(command(name), [*needed, option, value])
        assert (value, result.exit_code) == (value, 2), result.output
        assert option.strip("-") in result.output.replace("_", "-")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prove",), "--agreement"),
        (("--prove", "--agreement", "1"), "--agreement below 1"),
        (("--audit-stop", "--agreement", "1"), "--agreement below 1"),
        (("--price-per-hour", "2"), "--dry-run"),
        (("--scored-by",), "--agreement below 1"),
        (("--ray-address", "auto"), "--engine ray"),
        (("--metrics-host", "::1"), "--metrics-port"),
        (("--max-errors", "5", "--on-error", "fail"), "--max-errors"),
        (("--prefix", "m\udcff"), "must be UTF-8"),
        (("--no-header", "--columns", "id\udcff,text"), "must be UTF-8"),
        (("--limit", "1" + "0" * 30), "--limit"),
        (("--threshold", "spam=nan"), "between 0 and 1"),
        (("--threshold", "spam=1"), "between 0 and 1"),
    ],
)
def test_an_option_of_score_that_would_do_nothing_is_a_usage_error(words: tuple[str, ...], said: str) -> None:
    """What belongs to an option that is not given, and what cannot be, is exit code 2 and says why."""
    result = CliRunner().invoke(command("score"), ["no-bundle", "no-rows.csv", "--out", "out.csv", *words])
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    ("out", "words", "said"),
    [
        ("-", ("--resume",), "standard output cannot be resumed"),
        ("-", ("--out-format", "parquet"), "Parquet cannot be written"),
        ("-", ("--part-rows", "5"), "neither --shard nor --part-rows"),
        ("-", ("--shard", "1/2"), "neither --shard nor --part-rows"),
        ("out.csv", ("--part-rows", "5", "--shard", "1/2"), "exclude each other"),
        ("memory://out.csv", (), "--part-rows"),
        ("out.csv", ("--engine", "ray", "--shard", "1/2"), "--engine ray"),
        ("out.csv", ("--engine", "ray", "--shard", "1/2", "--dry-run"), "--engine ray"),
        ("out.csv", ("--delimiter", ";", "--format", "jsonl"), "--delimiter is for CSV"),
        ("out.csv", ("--delimiter", ""), "expected one character"),
        ("out.csv", ("--no-header", "--columns", "text", "--format", "parquet"), "--no-header is for CSV"),
        ("out.csv", ("--quoting", "none", "--format", "jsonl"), "--quoting is for CSV"),
        ("out.csv", ("--encoding", "latin-1", "--format", "parquet"), "--encoding is for"),
    ],
)
def test_options_of_a_job_that_contradict_each_other_are_a_usage_error(
    tmp_path: Path, out: str, words: tuple[str, ...], said: str
) -> None:
    """What the output or the inputs' format leaves without effect is exit code 2 before a bundle is opened."""
    (tmp_path / "rows.csv").write_text("text\nx\n", encoding="utf-8")
    place = out if out == "-" or "://" in out else str(tmp_path / out)
    result = CliRunner().invoke(command("score"), ["no-bundle", str(tmp_path / "rows.csv"), "--out", place, *words])
    assert result.exit_code == 2, result.output
    assert said in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tune", "no-bundle", "--delimiter", ";"), "no file is read"),
        (("tune", "no-bundle", "--limit", "5"), "no file is read"),
        (("explain", "no-bundle", "--text", "x", "--encoding", "latin-1"), "no file is read"),
        (("export", "no-run", "--out", "b", "--precision", "fp32", "--min-agreement", "0.99"), "--min-agreement"),
        (("inspect", "no-bundle", "--diff", "other", "--markdown"), "--markdown"),
        (("decide", "no-run", "--level", "0.9"), "--level"),
        (("report", "no-run", "--no-texts", "--examples", "5"), "--examples"),
    ],
)
def test_an_option_of_another_command_that_would_do_nothing_is_a_usage_error(words: tuple[str, ...], said: str) -> None:
    """So it is with every command, before anything is opened."""
    result = CliRunner().invoke(group, list(words))
    assert result.exit_code == 2, result.output
    assert said in result.output


def test_every_option_of_scoring_stands_in_one_group() -> None:
    """`score -h` shows four groups; only -h itself is in none, and no group names an option that is gone."""
    names = [name for group_names in GROUPS.values() for name in group_names]
    assert len(names) == len(set(names))
    options = {option.name for option in command("score").params if isinstance(option, click.Option)}
    assert options == set(names)
    shown = CliRunner().invoke(command("score"), ["-h"]).output
    titles = [line.removesuffix(":") for line in shown.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == [*GROUPS, "Other"]
    assert shown.partition("Other:")[2].split() == ["-h,", "--help", "Show", "this", "message", "and", "exit."]


@pytest.mark.parametrize(("gpu", "name"), [(True, "one_gpu"), (False, "cpu")])
def test_the_machine_chooses_where_train_runs(monkeypatch: pytest.MonkeyPatch, gpu: bool, name: str) -> None:
    """Without --launch `train` takes the shipped config of one GPU where torch sees one, else that of the processor."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    assert default_config() == name
    assert find_config(name).is_file()


def test_train_launches_and_ends_as_the_launcher_does(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`train` with a config of its own makes the run; a misspelt name of a config is told the right one. The launcher
    has nothing to say, also where nobody set the number of threads.
    """
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    recipe = runs.write_recipe(tmp_path, stages=[{"epochs": 1, "batch": {"rows": 8}}])
    wrong = CliRunner().invoke(group, ["train", str(recipe), "--out", str(tmp_path / "run"), "--launch", "one_gup"])
    assert wrong.exit_code == 1
    assert "did you mean 'one_gpu'?" in wrong.stderr
    result = run("train", str(recipe), "--out", "run", "--launch", "cpu", "--set", "seed=7", "--quiet", cwd=tmp_path)
    assert (tmp_path / "run" / "best.json").is_file()
    assert "seed: 7" in (tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8")
    assert result.stdout.splitlines()[-1].startswith('{"run": "run"')
    # In this process, which starts the launched one.
    again = CliRunner().invoke(group, ["train", str(recipe), "--out", str(tmp_path / "run"), "--launch", "cpu"])
    said = capfd.readouterr().err
    assert again.exit_code == 1
    assert [record.message for record in caplog.records if record.name.startswith("accelerate")] == []
    assert said.startswith("error: ")
    assert "Traceback" not in said
