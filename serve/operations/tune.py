"""The fastest settings of a bundle on this machine, found once by measuring and kept in the user's cache."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnxruntime as ort

from export.bundle import MANIFEST, Bundle, instruction_set
from serve.scorer import Scorer
from serve.scoring.session import CPU
from serve.scoring.settings import ScorerOptions
from trainer.contract.checkpoint import from_json
from trainer.contract.errors import ArtifactError
from trainer.contract.system.files import read_json, sha256, write_json
from trainer.contract.system.machine import cpu_count

# Powers of two around what is usual: on processors small batches win, on GPUs large ones.
_BUDGETS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
_SECONDS = 1.0
# On a processor, as many as make a second of work; a whole window would take a small model six times that, for each
# setting. A GPU takes the window: its largest batches would be the only ones of fewer rows.
_ROWS = 1024
# A setting must win by more than the noise of a measurement to replace the one that the bundle was proven with.
_MARGIN = 1.03


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Settings and the rate that they reached."""

    batch_tokens: int
    workers: int
    """Threads of each device."""
    threads: int
    """Threads inside one run."""
    arena: bool
    """Whether ONNX Runtime keeps freed memory, for the next batch of any thread."""
    tokens_per_second: float
    """Of the texts, also of those that the student answers."""
    coverage: float | None = None
    """The share of the sample that the student answers; None without --agreement."""

    def options(self, given: ScorerOptions) -> ScorerOptions:
        """`given` with these settings, but where the user said otherwise."""
        return replace(
            given,
            session=replace(given.session, threads=self.threads, arena=self.arena),
            workers=given.workers or self.workers,
            batch_tokens=given.batch_tokens or self.batch_tokens,
        )


def tune(
    bundle: Bundle,
    given: ScorerOptions,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Measure settings on the first of `texts`, one kind of setting after another, and keep the fastest in the cache.

    The cache only spares time: where it cannot be written, `say` gets a line and the settings serve this time.

    Scores of int8 move a little with the budget, as they do with any change of batch mates: see `GraphFile.parity`.
    """

    def measure(candidate: Tuned) -> Tuned:
        """A candidate with its rate, in tokens a second."""
        with Scorer(bundle, candidate.options(replace(given, workers=None, batch_tokens=None))) as scorer:
            return replace(candidate, tokens_per_second=_rate(scorer, texts, pairs))

    with Scorer(bundle, given) as scorer:
        on_processor = scorer.session.provider == CPU
        if on_processor:
            texts, pairs = texts[:_ROWS], None if pairs is None else pairs[:_ROWS]
        best = Tuned(
            batch_tokens=scorer.batch_tokens,
            workers=scorer.workers_each,
            threads=given.session.threads,
            arena=scorer.session.arena,
            tokens_per_second=_rate(scorer, texts, pairs),
            coverage=None if scorer.cascade is None else round(float(scorer.plan(texts, pairs).by_student.mean()), 4),
        )
    say(shown_settings(best))
    first = best
    for candidates in _candidates(best, on_processor=on_processor):
        for candidate in candidates(best):
            measured = measure(candidate)
            say(shown_settings(measured))
            if measured.tokens_per_second > _MARGIN * best.tokens_per_second:
                best = measured
    # What else runs on the machine may have favoured the winner: it must win again, in turns with the first.
    if best != first and not _wins([(measure(first), measure(best)) for _ in range(2)]):
        best = first
    _keep(cache_path(bundle, given), best, say)
    return best


def cached(bundle: Bundle, given: ScorerOptions) -> Tuned | None:
    """What `tune` found for this machine, bundle and precision, or None."""
    path = cache_path(bundle, given)
    try:
        found = None if path is None else from_json(Tuned, read_json(path), path)
    # A cache that is missing, not ours to read, damaged or of another version is not there.
    except (ArtifactError, OSError):
        return None
    return found if found and min(found.batch_tokens, found.workers, found.threads) > 0 else None


def _keep(path: Path | None, best: Tuned, say: Callable[[str], None]) -> None:
    reason = "this user has no home"
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, asdict(best))
            return
    except OSError as error:
        reason = f"{error.strerror or error}, {error.filename or ''}"
    say(f"the settings are not kept for next time ({reason}); XDG_CACHE_HOME may name a folder for them")


def cache_path(bundle: Bundle, given: ScorerOptions) -> Path | None:
    """Where the settings lie, by a name made of all that they depend on; None where the user has no home."""
    key = "\n".join(
        (
            sha256(bundle.path / MANIFEST),
            given.session.precision,
            given.session.device,
            # Fewer rows for the encoder make other batches worth their while.
            *([] if given.agreement is None else [f"agreement {given.agreement:g}"]),
            instruction_set(),
            str(cpu_count()),
            ort.__version__,
        )
    )
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        # In a container: no HOME, and a user id without a name.
        return None
    return home / "classifact" / f"tuned-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _candidates(first: Tuned, *, on_processor: bool) -> list[Callable[[Tuned], list[Tuned]]]:
    """Kinds of settings in the order in which they are tried, each from the best so far."""

    def spread(best: Tuned) -> list[Tuned]:
        """Workers with a thread each, or fewer whose products are split: the faster ones depend on the model."""
        total = max(1, first.workers)
        return [
            replace(best, workers=workers, threads=total // workers)
            for workers in sorted({1, total // 2, total} - {0, best.workers})
        ]

    def budgets(best: Tuned) -> list[Tuned]:
        """Tokens of a batch. The bundle's budget is a processor's; a GPU may want one many times as large."""
        far = 4 if on_processor else _BUDGETS[-1]
        near = [budget for budget in _BUDGETS if best.batch_tokens / far <= budget <= best.batch_tokens * far]
        return [replace(best, batch_tokens=budget) for budget in near if budget != best.batch_tokens]

    def arena(best: Tuned) -> list[Tuned]:
        """ONNX Runtime's memory arena the other way."""
        return [replace(best, arena=not best.arena)]

    return [spread, budgets, arena] if on_processor else [budgets]


def _rate(scorer: Scorer, texts: Sequence[str], pairs: Sequence[str] | None) -> float:
    """Tokens per second of the session on the texts, after a first batch that warms it up."""
    scorer.logits(texts[:8], None if pairs is None else pairs[:8])
    start, tokens = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < _SECONDS:
        pending = scorer.submit(texts, pairs)
        pending.result()
        tokens += len(pending.plan.encoded.ids)
    return round(tokens / seconds, 1)


def _wins(turns: list[tuple[Tuned, Tuned]]) -> bool:
    """Whether the second of each turn is faster, at its best."""
    rates = [max(tuned.tokens_per_second for tuned in side) for side in zip(*turns, strict=True)]
    return bool(rates[1] > _MARGIN * rates[0])


def shown_settings(tuned: Tuned) -> str:
    """The settings and their rate, on a line."""
    arena = "with" if tuned.arena else "without"
    student = "" if tuned.coverage is None else f", {tuned.coverage:.1%} of the rows by the student"
    return (
        f"{tuned.tokens_per_second:>12,.0f} tokens/s: {tuned.workers} workers x {tuned.threads} threads, "
        f"{tuned.batch_tokens} tokens a batch, {arena} arena{student}"
    )


def tuned_summary(tuned: Tuned, path: Path | None) -> dict[str, Any]:
    """The settings as JSON, and where they are kept, if they are."""
    return {**asdict(tuned), "cache": str(path) if path is not None and path.exists() else None}
