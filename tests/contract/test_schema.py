"""Untrusted data to dataclasses: every problem at once, and no type that is almost right."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.contract.checkpoint import Contract
from trainer.contract.schema import bind


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A part with a rule of its own."""

    rate: float
    name: str = "x"

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate: expected at least 0, found {self.rate}")


@dataclass(frozen=True, kw_only=True)
class Outer:
    """One field of each form."""

    count: int
    inner: Inner
    flag: bool = False
    rate: float = 0.5
    maybe: str | None = None
    kind: Literal["head", "tail"] = "head"
    texts: tuple[str, ...] = ()
    parts: tuple[Inner, ...] = ()
    weights: Literal["balanced"] | dict[str, float] | None = None
    either: int | str = 0
    anything: dict[str, Any] = field(default_factory=dict)


GOOD: dict[str, Any] = {"count": 1, "inner": {"rate": 1}}


def problems(**changes: Any) -> list[str]:
    """What is wrong with a good Outer after some changes."""
    found: list[str] = []
    result = bind(Outer, {**GOOD, **changes}, found)
    assert (result is None) == bool(found)
    return found


def made(**changes: Any) -> Outer:
    """An Outer of a good one with some changes."""
    found: list[str] = []
    result = bind(Outer, {**GOOD, **changes}, found)
    assert result is not None, found
    return result


def test_every_problem_is_found_at_once() -> None:
    """Unknown, missing and wrong keys at every depth come in one list, each with its whole key."""
    found: list[str] = []
    data = {"cuont": 1, "inner": {"rate": "fast", "nam": 1}, "texts": ["a", 2], "parts": [{"rate": 1}, {"rate": -1}, 3]}
    assert bind(Outer, data, found, "stages[0]") is None
    assert found == [
        "stages[0].cuont: unknown key; did you mean 'count'?",
        "stages[0].count: missing",
        "stages[0].inner.nam: unknown key; did you mean 'name'?",
        "stages[0].inner.rate: expected a number, found 'fast'",
        "stages[0].texts[1]: expected text, found 2; put it in quotes",
        "stages[0].parts[1]: rate: expected at least 0, found -1.0",
        "stages[0].parts[2]: expected keys and values, found 3",
    ]


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_a_file_that_holds_no_keys_is_refused(data: object) -> None:
    """An empty YAML file, a list or a word is one problem, not a crash."""
    found: list[str] = []
    assert bind(Outer, data, found) is None
    assert found[0].startswith("the file: expected keys and values")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("count", True),
        ("count", 1.0),
        ("count", "1"),
        ("count", None),
        ("count", 10**400),
        ("count", -(2**63)),
        ("flag", 1),
        ("flag", "true"),
        ("flag", None),
        ("rate", True),
        ("rate", "fast"),
        ("rate", ""),
        ("rate", None),
        ("rate", math.nan),
        ("rate", math.inf),
        ("rate", "nan"),
        ("rate", "-inf"),
        ("rate", 10**400),
        ("rate", "1e999"),
        ("maybe", 3),
        ("maybe", True),
        ("maybe", ["x"]),
        ("kind", "Tail"),
        ("kind", None),
        ("kind", ["head"]),
        ("kind", {}),
        ("texts", None),
        ("texts", {"a": 1}),
        ("texts", [["a"]]),
        ("parts", "x"),
        ("inner", []),
        ("inner", None),
        ("weights", "balnced"),
        ("weights", {"a": "much"}),
        ("weights", [1.0]),
        ("either", 1.5),
        ("either", None),
        ("anything", []),
        (3, 1),
        (None, 1),
    ],
    ids=repr,
)
def test_a_value_of_another_type_is_one_problem_with_its_key(key: Any, value: object) -> None:
    """Nothing is converted that could mean something else, and the problem begins with the key."""
    found: list[str] = []
    assert bind(Outer, {**GOOD, key: value}, found) is None
    assert len(found) == 1
    assert found[0].startswith(str(key))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("rate", "2e-5", 2e-5),
        ("rate", 3, 3.0),
        ("rate", "1.5", 1.5),
        ("maybe", None, None),
        ("maybe", "x", "x"),
        ("kind", "tail", "tail"),
        ("texts", "one", ("one",)),
        ("texts", ["a", "b"], ("a", "b")),
        ("texts", [], ()),
        ("parts", {"rate": 1}, (Inner(rate=1.0),)),
        ("weights", "balanced", "balanced"),
        ("weights", {"a": 1, 2: "3e1"}, {"a": 1.0, "2": 30.0}),
        ("weights", None, None),
        ("either", "x", "x"),
        ("either", 7, 7),
        ("anything", {"a": [1, None]}, {"a": [1, None]}),
    ],
    ids=repr,
)
def test_every_form_of_value_is_read(key: str, value: object, expected: object) -> None:
    """Each type's own form, a single value for a tuple of one, and numbers as YAML 1.1 spells them."""
    found = getattr(made(**{key: value}), key)
    assert found == expected
    assert type(found) is type(expected)


def test_a_misspelt_choice_names_the_nearest() -> None:
    """A Literal's problem lists the choices and the nearest of them, alone and beside another type."""
    assert problems(kind="haed") == ["kind: expected head or tail, found 'haed'; did you mean 'head'?"]
    assert "did you mean 'balanced'?" in problems(weights="balnced")[0]


def test_problems_of_a_mapping_are_those_of_the_mapping_type() -> None:
    """Where a union offers a word or a mapping and a mapping is given, its own wrong key is named."""
    assert problems(weights={"a": 1, "b": "much"}) == ["weights.b: expected a number, found 'much'"]
    assert problems(weights=3) == ["weights: expected balanced, found 3"]
    assert problems(either=1.5) == ["either: expected a whole number, found 1.5"]


def test_given_fields_are_not_read() -> None:
    """A field that the caller gives cannot be set by the file."""
    found: list[str] = []
    assert bind(Inner, {"rate": 1}, found, given={"name": "ours"}) == Inner(rate=1.0, name="ours")
    assert bind(Inner, {"rate": 1, "name": "theirs"}, found, given={"name": "ours"}) is None
    assert found[0].startswith("name: unknown key")


def test_a_long_value_is_shown_short() -> None:
    """An error never carries a whole text."""
    assert len(problems(count="x" * 10_000)[0]) < 120


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["labels", "input", "encoding", "names", "text", "max_tokens", "kind"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(data=JSON)
def test_any_json_is_a_contract_or_problems(data: object) -> None:
    """Whatever JSON holds: a Contract, or a list of problems, never another error."""
    found: list[str] = []
    assert (bind(Contract, data, found) is None) == bool(found)
