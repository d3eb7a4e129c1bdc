"""The rows where most decisions are wrong, as rules that a person can read.

A shallow tree looks for them on one half of the rows; the other half says whether they are there. On the rows that it
was found on any rule looks bad, since the worst of many were chosen.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from trainer.contract.encoding import Ints
from trainer.contract.figures.exact import holm
from trainer.evaluation.measured import Bools, Measured
from trainer.evaluation.slicing.fisher import SLICE_LEVEL, worse
from trainer.evaluation.slicing.slices import errors, find_slices
from trainer.evaluation.slicing.traits import Traits

DEPTH = 3
RULES = 5
# Fewer errors in a half, and a tree finds nothing but chance.
_LEAST_WRONG = 10
_LEAST_ROWS = 20
METHOD = (
    f"a decision tree of depth {DEPTH} (scikit-learn) on length, share of capitals, truncation, script, links, "
    "numbers, emoji and the recipe's columns; found on one half of the rows, and tested on the other: Fisher's exact "
    "test, one-sided, whether the share of wrong rows is higher than among the other rows; p adjusted for the rules by "
    "Holm (1979)"
)


def worst_slices(
    measured: Measured, traits: Traits, columns: Mapping[str, Sequence[str]], groups: Ints, seed: int
) -> dict[str, Any]:
    """At most RULES parts of the tree's rows, disjoint, that are worse than all rows of the first half; those that are
    so least by chance come first. groups: rows of one group lie in one half.
    """
    first, second = halves(groups, seed)
    wrong = measured.wrong
    enough = min(wrong[first].sum(), wrong[second].sum()) >= _LEAST_WRONG
    found = []
    for rule, rows in _disjoint(_nodes(traits, columns, wrong, first), wrong, first) if enough else []:
        seen, checked = rows & first, rows & second
        if checked.any():
            counts = {"found_rows": int(seen.sum()), "found_wrong": int(wrong[seen].sum())}
            found.append({"rule": rule, **counts, **errors(wrong[checked])})
    ps = [worse(each["wrong"], each["rows"], int(wrong[second].sum()), int(second.sum())) for each in found]
    for each, p, adjusted in zip(found, ps, holm(ps), strict=True):
        each.update(p=p, p_adjusted=adjusted, flagged=adjusted < SLICE_LEVEL)
    return {
        "method": METHOD,
        "found_on": int(first.sum()) if enough else 0,
        "checked_on": int(second.sum()) if enough else 0,
        "level": SLICE_LEVEL,
        "found": found,
    }


def _disjoint(nodes: Iterable[tuple[str, Bools]], wrong: Bools, first: Bools) -> Iterator[tuple[str, Bools]]:
    """The parts that look worst on the first half, none of which shares a row with another: a part within a bad part is
    told once.
    """
    counted = [(int(wrong[rows & first].sum()), int((rows & first).sum()), rule, rows) for rule, rows in nodes]
    every, all_wrong = int(first.sum()), int(wrong[first].sum())
    worse_ones = [each for each in counted if each[0] * every > each[1] * all_wrong]
    taken = np.zeros(len(wrong), dtype=np.bool_)
    left = RULES
    for _, _, rule, rows in sorted(worse_ones, key=lambda each: worse(each[0], each[1], all_wrong, every)):
        if left and not (taken & rows).any():
            taken |= rows
            left -= 1
            yield rule, rows


def halves(groups: Ints, seed: int) -> tuple[Bools, Bools]:
    """Two halves of the groups, drawn at random."""
    size = int(groups.max(initial=-1)) + 1
    chosen = np.random.default_rng(seed).permutation(size) < (size + 1) // 2
    first = chosen[groups]
    return first, ~first


def _features(traits: Traits, columns: Mapping[str, Sequence[str]]) -> tuple[list[tuple[str, str]], Any]:
    """What the tree may ask, [N, F], each with its words for no and for yes; numbers have a `{}` for the limit."""
    # A limit lies between two numbers of characters: the lower one is meant.
    names = [
        ("at most {:.0f} characters", "more than {:.0f} characters"),
        ("at most {:.1%} capitals", "more than {:.1%} capitals"),
    ]
    found = [traits.characters.astype(np.float64), traits.capitals]
    for part in find_slices(traits, columns):
        if not part.column and (part.by == "length" or part.value == "no"):
            continue
        if part.column:
            # Braces of a value would be read as the place of a limit.
            value = repr(part.value).replace("{", "{{").replace("}", "}}")
            by = part.by.replace("{", "{{").replace("}", "}}")
            names.append((f"{by} is not {value}", f"{by} is {value}"))
        elif part.by == "script":
            names.append((f"script is not {part.value}", f"script is {part.value}"))
        elif part.by == "truncated":
            names.append(("not cut by the token limit", "cut by the token limit"))
        else:
            names.append((f"no {part.by}", f"has a {part.by}"))
        found.append(part.rows.astype(np.float64))
    return names, np.stack(found, axis=1)


def _nodes(
    traits: Traits, columns: Mapping[str, Sequence[str]], wrong: Bools, first: Bools
) -> Iterator[tuple[str, Bools]]:
    """The rule of each node of the tree but its root, and which of all rows fall into it."""
    names, features = _features(traits, columns)
    least = max(_LEAST_ROWS, int(first.sum()) // 50)
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=least, random_state=0)
    tree.fit(features[first], wrong[first])
    paths, inner = tree.decision_path(features).tocsc(), tree.tree_

    # Of two limits of one number the lower node's is the narrower one, so it takes the other's place.
    def walk(node: int, rules: dict[tuple[int, str], str]) -> Iterator[tuple[str, Bools]]:
        """The rule and the rows, bool [N], of a node and of all below it."""
        if rules:
            rows = np.zeros(len(wrong), dtype=np.bool_)
            rows[paths.indices[paths.indptr[node] : paths.indptr[node + 1]]] = True
            yield " and ".join(rules.values()), rows
        if inner.children_left[node] == -1:
            return
        feature, limit = int(inner.feature[node]), float(inner.threshold[node])
        limit = math.floor(limit) if feature == 0 else limit
        no, yes = names[feature]
        yield from walk(int(inner.children_left[node]), rules | {(feature, no): no.format(limit)})
        yield from walk(int(inner.children_right[node]), rules | {(feature, yes): yes.format(limit)})

    yield from walk(0, {})
