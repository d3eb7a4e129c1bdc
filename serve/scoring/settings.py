"""How a scorer is asked to run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict, Unpack

from serve.scoring.session import SessionOptions


class Settings(TypedDict, total=False):
    """What `Scorer.open` takes beside the bundle; the fields of `ScorerOptions` and `SessionOptions` of these names."""

    precision: str
    device: str
    allow_cpu_fallback: bool
    workers: int | None
    batch_tokens: int | None
    thresholds: Mapping[str, float]
    abstain: bool
    agreement: float | None


@dataclass(frozen=True, kw_only=True)
class ScorerOptions:
    """How a scorer runs."""

    session: SessionOptions = field(default_factory=SessionOptions)
    workers: int | None = None
    """Threads, on GPUs of each; None: as many as use the processors, on GPUs two."""
    batch_tokens: int | None = None
    """Padded tokens of a batch; None: as the manifest says."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Of some labels, in place of the bundle's."""
    abstain: bool = True
    """Whether rows that are not sure enough are left unanswered, where the bundle says so."""
    agreement: float | None = None
    """The proven share of rows that are answered as by the encoder, which the student may then spare; None: no row."""


def options_of(**settings: Unpack[Settings]) -> ScorerOptions:
    """What `Scorer.open` was given. Raises TypeError for a setting that is none."""
    given: dict[str, Any] = {**settings}
    session = {each.name: given.pop(each.name) for each in fields(SessionOptions) if each.name in given}
    return ScorerOptions(session=SessionOptions(**session), **given)
