"""The side of a contestant that learns: rows from files, rounds of learning. Standard library only.

A file of rows holds JSON lines: "text", and "label", a number, or for several labels a row a list of 0 and 1.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.talk import Figures, Request, Round, cpu_seconds, speak

Labels = list[Any]
Texts = list[str]
Classify = Callable[[Texts], Sequence[Any]]


def read_rows(path: str) -> tuple[Texts, Labels]:
    """Texts and labels of a file."""
    with Path(path).open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def plain(labels: Any) -> Labels:
    """Labels of any library (arrays, tensors) as JSON has them."""
    given = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    each_plain = [each.tolist() if hasattr(each, "tolist") else each for each in given]
    return [[int(one) for one in each] if isinstance(each, list) else int(each) for each in each_plain]


def learn(load: Callable[[Request], Callable[[Texts, Labels], Classify]], packages: Sequence[str]) -> None:
    """Serve rounds in which a classifier is made of all training rows and asked for all test rows.

    load: settings to a function that learns from texts and labels, and gives one that labels texts.
    """

    def load_rows(settings: Request) -> Round:
        (texts, labels), (asked, _) = (read_rows(settings[name]) for name in ("train", "test"))
        fit = load(settings)

        def round_(_: Request) -> Figures:
            started, used = time.perf_counter(), cpu_seconds()
            classify = fit(texts, labels)
            learnt, used_to_learn = time.perf_counter(), cpu_seconds()
            found = plain(classify(asked))
            return {
                "train_seconds": learnt - started,
                "train_cpu_seconds": used_to_learn - used,
                "score_seconds": time.perf_counter() - learnt,
                "score_cpu_seconds": cpu_seconds() - used_to_learn,
                "labels": found,
            }

        return round_

    speak(load_rows, packages)


def go_on(load: Callable[[Request], tuple[Callable[[Texts, Labels], None], Classify]], packages: Sequence[str]) -> None:
    """Serve rounds that each train one classifier on, with the next rows in order, and then ask it for the validation
    rows; only the training is timed.

    load: settings to a function that trains on with some rows, and one that labels texts.
    """

    def load_rows(settings: Request) -> Round:
        (texts, labels), (asked, _) = (read_rows(settings[name]) for name in ("train", "validation"))
        train, classify = load(settings)
        seen, spent = 0, 0.0

        def round_(request: Request) -> Figures:
            nonlocal seen, spent
            chosen = [number % len(texts) for number in range(seen, seen + request["rows"])]
            started = time.perf_counter()
            train([texts[number] for number in chosen], [labels[number] for number in chosen])
            seconds = time.perf_counter() - started
            seen, spent = seen + request["rows"], spent + seconds
            return {"seconds": seconds, "trained_rows": seen, "train_seconds": spent, "labels": plain(classify(asked))}

        return round_

    speak(load_rows, packages)
