"""What a contestant's file says of itself, read without the libraries that it needs.

A file in a room (`scoring/`, `limits/`, ...) is one tool. It has `NEEDS`, pip requirements for an environment of its
own (none: ours serves), `VARIANTS`, and `load`. Libraries are imported inside `load`. Run as a program it speaks
(`talk.py`).
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# What ends the name of a variant that runs on a GPU, so that each is called as its like on a processor.
ON_GPU = ", on a GPU"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One line of the table: a tool at certain settings."""

    name: str
    """As the table shows it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What `load` is given, beside what the room gives everyone."""
    precision: str = ""
    """"fp32", "bf16", "fp16" or "int8": whose limit it is held against. Empty: none, as for a cascade."""
    reference: bool = False
    """Whether its labels are what the others' must agree with."""
    gpu: bool = False
    """Whether it runs on a GPU: `--gpu` measures these alone, and a run without it none of them."""
    quick: bool = False
    """Whether a quick run measures it."""
    first: int | None = None
    """Rows of its first, uncounted round; None: the schedule's."""
    whole: bool = False
    """Whether a round always has all rows: a program that is started anew each time would else tell of its start."""
    seconds: float | None = None
    """Of its round; None: the schedule's."""
    onnx_runtime: bool = False
    """Whether ONNX Runtime computes it, which no setting masks."""
    light: bool = True
    """Whether it is measured too where rows take long; few variants of a tool are enough there."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A variant, and how to start its program."""

    module: str
    """Run as `python -m MODULE`."""
    needs: tuple[str, ...]
    """pip's requirements; none: it runs in our own environment."""
    variant: Variant

    @property
    def tool(self) -> str:
        """The file's name, which is the environment's too."""
        return self.module.rpartition(".")[2]


def contestants(room: str, wanted: Callable[[Variant], bool] = lambda _: True) -> list[Contestant]:
    """All variants of a room's files, the reference first.

    room: a package, such as "benchmarks.peers.scoring".
    """
    found = []
    for file in pkgutil.iter_modules(importlib.import_module(room).__path__):
        module = importlib.import_module(f"{room}.{file.name}")
        # A file without variants helps the others.
        variants = filter(wanted, getattr(module, "VARIANTS", ()))
        found += [Contestant(module=module.__name__, needs=tuple(module.NEEDS), variant=each) for each in variants]
    return sorted(found, key=lambda each: not each.variant.reference)
