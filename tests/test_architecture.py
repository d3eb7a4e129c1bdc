"""The shape of the code, as `CONTRIBUTING.md` draws it: who imports whom, what is named how, and how large things may
be.
"""

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("trainer", "export", "serve", "classifact")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# Not what lies in their results: environments of other tools.
BENCHMARKS = [path for path in (ROOT / "benchmarks").glob("**/*.py") if "results" not in path.relative_to(ROOT).parts]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
# For each part, longest name first: what it may import of ours, and what it may not import of others'.
HEAVY = {"torch", "transformers", "accelerate", "datasets", "optimum", "onnx"}
# What a bundle is read with, by export and by serve.
BUNDLE = ("export.bundle", "export.cascade.certificate", "export.cascade.student")
TABLE: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "trainer.contract": (("trainer.contract",), HEAVY | {"onnxruntime", "click", "pyarrow", "sklearn", "yaml"}),
    # The one file that opens what others wrote, for all three packages: with pyarrow, when it is called.
    "trainer.contract.text_files.opened": (("trainer.contract",), HEAVY | {"onnxruntime", "click", "sklearn", "yaml"}),
    "trainer.opening": (
        ("trainer.opening", "trainer.contract"),
        {"accelerate", "datasets", "optimum", "onnx", "onnxruntime", "click"},
    ),
    "trainer": (("trainer",), {"optimum", "onnx", "onnxruntime"}),
    **{part: ((*BUNDLE, "trainer.contract"), HEAVY | {"onnxruntime", "click"}) for part in BUNDLE},
    "export": (("export", "trainer.contract", "trainer.opening"), {"accelerate", "datasets"}),
    "serve": (("serve", *BUNDLE, "trainer.contract", "classifact.own_packages"), HEAVY),
    "classifact": (
        ("classifact", "serve.scorer", "serve.without_pandas", "trainer.contract.system.installed"),
        HEAVY | {"onnxruntime", "numpy", "pyarrow"},
    ),
}


def module_name(path: Path) -> str:
    """trainer/loop.py is trainer.loop."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth of it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module in PACKAGES)


def under(name: str, part: str) -> bool:
    """Whether a module is a part or lies in it."""
    return name == part or name.startswith(part + ".")


def broken_imports(path: Path) -> list[str]:
    """The imports of a file that the table does not allow."""
    name = module_name(path)
    part = max((part for part in TABLE if under(name, part)), key=len)
    ours, forbidden = TABLE[part]
    found = list(imports(path))
    wrong = [module for module in found if module.split(".")[0] in forbidden]
    wrong += [
        module
        for module in found
        if module.split(".")[0] in PACKAGES and module not in PACKAGES and not any(under(module, own) for own in ours)
    ]
    if "click" in found and path.name != "cli.py":
        wrong.append("click")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_upstream(path: Path) -> None:
    """No file imports what the table forbids its part, and click stands in cli.py alone."""
    assert broken_imports(path) == []


def test_the_import_table_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scorer that imports torch, and a contract that imports the scorer, are both found."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve" / "job.py").write_text("def f() -> None:\n    import torch.nn\n    from trainer import loop\n")
    assert broken_imports(tmp_path / "serve" / "job.py") == ["torch.nn", "trainer.loop"]


def test_versions_are_asked_for_in_one_file() -> None:
    """A distribution that is missing ends nothing: whoever notes versions asks `contract/system/installed.py`."""
    asking = [module_name(path) for path in FILES if "metadata.version(" in path.read_text(encoding="utf-8")]
    # The package itself, which is imported beside whatever else is called `trainer`.
    assert asking == ["classifact", "trainer.contract.system.installed"]


# Who stands on the rooms of scoring, and is therefore none of theirs to import. `operations` surround a job, and may.
ROOMS = ("reading", "scoring", "writing", "journal")
ABOVE = ("serve.cli", "serve.options", "serve.job", "serve.pipeline", "serve.operations")


def imports_back_up(path: Path) -> list[str]:
    """What a file of one of serve's rooms imports from above it."""
    name = module_name(path)
    if not any(under(name, f"serve.{room}") for room in ROOMS):
        return []
    return [module for module in imports(path) if any(under(module, top) for top in ABOVE)]


@pytest.mark.parametrize("path", [path for path in FILES if under(module_name(path), "serve")], ids=module_name)
def test_rooms_of_serve_import_nothing_above_them(path: Path) -> None:
    """Reading, scoring, writing and the journal know neither the job, nor the loop, nor what surrounds them."""
    assert imports_back_up(path) == []


def test_the_rule_of_rooms_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that imports the loop, even inside a function, is found."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "serve" / "journal").mkdir(parents=True)
    path = tmp_path / "serve" / "journal" / "shards.py"
    path.write_text("import serve.scorer\ndef f() -> None:\n    from serve.pipeline import Sink\n")
    assert imports_back_up(path) == ["serve.pipeline"]


def test_files_of_trainer_take_no_name_of_a_library() -> None:
    """trainer/run.py is launched by path, so a file such as trainer/datasets.py would stand in for the library."""
    taken = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    taken -= set(PACKAGES)
    names = {path.stem for path in (ROOT / "trainer").glob("*.py")} | {
        path.name for path in (ROOT / "trainer").iterdir() if path.is_dir()
    }
    assert "loop" in names
    assert names & taken == set()


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_and_functions_stay_small(path: Path) -> None:
    """Files have at most 300 lines, functions 60 (the loop 80) and six parameters; nothing is checked by assert."""
    text = path.read_text(encoding="utf-8")
    problems = ["file"] if text.count("\n") > 300 else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assert):
            problems.append(f"assert in line {node.lineno}")
        if isinstance(node, ast.FunctionDef):
            given = [
                argument for argument in (*node.args.args, *node.args.kwonlyargs) if argument.arg not in ("self", "cls")
            ]
            if (node.end_lineno or 0) - node.lineno + 1 > (80 if path.name == "loop.py" else 60):
                problems.append(f"{node.name} is long")
            if len(given) > 6 and path.name != "cli.py":
                problems.append(f"{node.name} takes {len(given)}")
    assert problems == []


def explained_above(text: str) -> list[str]:
    """The fields of records that the paragraph of their class explains, as in "batch: rows read together"."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            marks = [ast.unparse(part) for part in (*node.decorator_list, *node.bases)]
            if any(mark.startswith("dataclass") or mark == "NamedTuple" for mark in marks):
                names = [ast.unparse(line.target) for line in node.body if isinstance(line, ast.AnnAssign)]
                said = ast.get_docstring(node) or ""
                found += [
                    f"{node.name}.{name}"
                    for name in names
                    if re.search(rf"(^|[.;] |\n *)(\w+, )*{name}(, \w+)*:", said)
                ]
    return found


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_field_is_explained_under_itself(path: Path) -> None:
    """No class explains its fields in its own paragraph."""
    assert explained_above(path.read_text(encoding="utf-8")) == []


def test_the_rule_of_fields_can_fail() -> None:
    """Fields that a paragraph explains are found, whether they come first, later, or several together."""
    text = '@dataclass\nclass A:\n    """What. one: x. two, three:\n    y; four: z, at five: no."""\n'
    text += "".join(f"    {name}: int\n" for name in ("one", "two", "three", "four", "five"))
    assert explained_above(text) == ["A.one", "A.two", "A.three", "A.four"]


def bare_json(text: str) -> list[int]:
    """Lines that write JSON in which NaN and infinity may stand, which are none."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("json.dumps", "json.dump")
        and not any(given.arg == "allow_nan" for given in node.keywords)
    ]


@pytest.mark.parametrize("path", [*FILES, *BENCHMARKS], ids=lambda path: path.stem)
def test_no_json_is_written_that_is_none(path: Path) -> None:
    """JSON is written by the contract's functions, or says itself that NaN is an error."""
    assert bare_json(path.read_text(encoding="utf-8")) == []


def undescribed(text: str) -> list[str]:
    """Classes and functions without a docstring, those inside of others too; a name that begins with _ needs none."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return [node.name for node in found if not node.name.startswith("_") and ast.get_docstring(node) is None]


def test_everything_with_a_name_is_described() -> None:
    """ruff asks it of what a module shows; here a function inside of another says what it gives, too."""
    assert undescribed("def _a():\n    def b(): ...\n    class C:\n        'Said.'\n        def d(self): ...") == [
        "b",
        "d",
    ]
    found = {module_name(path): undescribed(path.read_text(encoding="utf-8")) for path in FILES}
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_the_rule_of_json_can_fail() -> None:
    """A plain call is found, one that refuses NaN is not."""
    assert bare_json("import json\njson.dumps([])\njson.dumps([], allow_nan=False)\njson.loads('')") == [2]


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_states_its_behaviour(path: Path) -> None:
    """Each test has a sentence, and something in it that can fail."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node), node.name
            body = ast.unparse(node)
            assert "assert" in body or "raises" in body or "check" in body, node.name


def test_modules_form_no_ring() -> None:
    """No module imports, at its top level, one that imports it back."""
    edges = {
        module_name(path): {module for module in top_level_imports(path) if module.split(".")[0] in PACKAGES}
        for path in FILES
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name in done:
            return
        for module in edges.get(name, set()):
            visit(module, (*above, name))
        done.add(name)

    for name in edges:
        visit(name, ())
    assert len(done) >= len(edges)


def top_level_imports(path: Path) -> Iterator[str]:
    """What a module imports when it is imported."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize(
    "statement",
    [
        "import serve",
        "from classifact import Scorer",
        "from serve import Scorer",
        "import export.bundle",
        "import trainer.contract.encoding",
    ],
)
def test_scoring_needs_no_torch(statement: str) -> None:
    """Importing the scorer, or what it reads, loads neither torch nor transformers."""
    code = f"{statement}; import sys; print({{'torch', 'transformers', 'optimum'}} & set(sys.modules) or 'none')"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "none"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="what is tracked is known in a checkout alone")
def test_tracked_files() -> None:
    """No file is tracked that .gitignore leaves out: no library's code, no run and no result is part of the project."""
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not ignored.stdout.splitlines()
