"""Windows scored on a Ray cluster: tasks read them, actors that hold a `Scorer` each score them, this process writes.

The unit of work is a window, which is a function of row position, so the output has the bytes of a local job: a killed
actor's window is scored again by another, alike. Rows, errors and the journal stay with the one process that started
the job, so `--resume` works as it does locally, on either engine. Imported only where a job asks for Ray.
"""

import contextlib
import os
import pickle
import socket
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import ray
import ray.data
from ray.data.block import BlockMetadata

from export.bundle import Bundle
from serve.journal.state import ScoredWindow
from serve.reading.sources import InputSource
from serve.reading.texts import reading_from
from serve.reading.windows import InputPosition, Window, read_windows
from serve.scorer import Scorer
from serve.scoring.cascade import Auditing
from serve.scoring.engine import Spent
from serve.scoring.identity import scorer_identity
from serve.scoring.phases import Phases
from serve.scoring.ray_cluster import connected
from serve.scoring.session import CPU
from serve.scoring.settings import ScorerOptions
from serve.scoring.window_scorer import WindowScorer
from serve.writing.formats import make_format
from serve.writing.layout import Layout
from trainer.contract.errors import ClassifactError, InputError
from trainer.contract.system.machine import cpu_count

# One file is read ahead of the one whose windows are scored; what they make waits in the cluster's memory.
_READERS = 2
# How often a window may lose its actor. Machines come and go; a window that kills each of them must end.
_TRIES = 10
_ITEM = "item"


@dataclass(frozen=True, kw_only=True)
class Work:
    """All that an actor needs."""

    bundle: Path
    options: ScorerOptions
    layout: Layout
    kind: str
    max_chars: int
    nulls: bool
    auditing: Auditing | None = None
    """Which rows go through both tiers; None where there is one."""
    prove: Callable[[Scorer], None] | None
    """Raises GateError where a machine does not score as the bundle was proven; None: not asked for."""
    identity: dict[str, object]
    """What its scores must have in common with those of the job."""
    text_columns: tuple[str, ...] | None = None

    def stage(self) -> WindowScorer:
        """Open the bundle here. Raises ClassifactError where this machine does not score as the job does."""
        bundle = reading_from(Bundle.open(self.bundle), self.text_columns)
        scorer = Scorer(bundle, self.options)
        found = scorer_identity(scorer)
        odd = next((name for name in found if found[name] != self.identity[name]), None)
        if odd is not None:
            raise InputError(
                f"a machine of the cluster differs in {odd}",
                where=socket.gethostname(),
                found=found[odd],
                expected=self.identity[odd],
                do="give every machine the same bundle, onnxruntime and kind of processor",
            )
        if self.prove is not None:
            self.prove(scorer)
        output = make_format(self.kind, self.layout, bundle.contract.labels)
        return WindowScorer(
            scorer=scorer,
            layout=self.layout,
            format=output,
            max_chars=self.max_chars,
            nulls=self.nulls,
            auditing=self.auditing,
        )


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is read."""

    sources: list[InputSource]
    columns: tuple[str, ...]
    """Those that make the text."""
    size: int
    """Rows of a window."""
    start: InputPosition
    """Where the first window begins."""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    scored: ScoredWindow
    spent: Spent


class ScoreActor:
    """Scores windows on a machine of the cluster. What goes wrong travels as an item, in its place."""

    def __init__(self, work: Work) -> None:
        self._stage: WindowScorer | ClassifactError
        try:
            self._stage = work.stage()
        except ClassifactError as error:
            # Ray would try again elsewhere, and log a traceback each time.
            self._stage = error

    def __call__(self, block: pa.Table) -> pa.Table:
        """A block of windows to a block of answers."""
        return _block(self._score(item) for item in _items(block))

    def _score(self, item: Window | ClassifactError) -> _Answer | ClassifactError:
        if isinstance(item, ClassifactError):
            return item
        if isinstance(self._stage, ClassifactError):
            return self._stage
        stage = self._stage
        cpu, session = time.process_time(), stage.scorer.session_seconds
        phases = Phases()
        try:
            scored = stage.end(stage.begin(item, phases), phases)
        except ClassifactError as error:
            # Ray would try again, and drop the windows before it.
            return error
        spent = Spent(cpu=time.process_time() - cpu, session=stage.scorer.session_seconds - session)
        return _Answer(scored=scored, spent=spent)


@contextlib.contextmanager
def opened_engine(work: Work, inputs: Inputs, *, address: str | None, workers: int | None) -> Iterator["RayEngine"]:
    """Connect to a cluster, or start one on this machine, which ends with the block.

    address: of the cluster; None: RAY_ADDRESS, else this machine. workers: actors; None: one a processor, or one a GPU.
    Raises InputError where the cluster does not answer.
    """
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    threads = work.options.session.threads
    # Ray prints what happens to its processes on standard output, which is for results.
    with contextlib.redirect_stdout(sys.stderr), connected(where, processors=(workers or 0) * threads or cpu_count()):
        on_gpu = work.identity["provider"] != CPU
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray has gaps.
        room = int(resources.get("GPU", 0)) if on_gpu else int(resources.get("CPU", 0)) // threads
        yield RayEngine(work, inputs, where=where, workers=workers or max(1, room))


class RayEngine:
    """Scores on the cluster that this process is connected to. workers: actors."""

    def __init__(self, work: Work, inputs: Inputs, *, where: str, workers: int) -> None:
        self.workers = workers
        self._threads = work.options.session.threads
        self._on_gpu = work.identity["provider"] != CPU
        # Each actor sees one device, its own, under the first number. A GPU's second thread prepares the next batch.
        session = replace(work.options.session, device="cuda" if self._on_gpu else "cpu")
        options = replace(work.options, session=session, workers=2 if self._on_gpu else 1)
        self._work = replace(work, options=options)
        self._inputs = inputs
        self._where = where
        self._actors = Spent(cpu=0.0, session=0.0)

    def results(self, phases: Phases) -> Generator[ScoredWindow]:
        """Every window, in order."""
        windows = self._inputs.start.windows
        # Closing the iterator ends Ray's own thread, which must not outlive the connection.
        with contextlib.closing(self._blocks()) as blocks:
            while True:
                with phases("wait for scores"):
                    block = self._next(blocks)
                if block is None:
                    return
                for answer in _items(block):
                    if isinstance(answer, ClassifactError):
                        raise answer
                    windows += 1
                    self._actors = Spent(
                        cpu=self._actors.cpu + answer.spent.cpu, session=self._actors.session + answer.spent.session
                    )
                    # Each input is read by itself, so only here is known how many windows are before.
                    yield replace(answer.scored, ordinal=windows)

    def spent(self) -> Spent:
        """What this process and the actors have spent on windows."""
        return Spent(cpu=time.process_time() + self._actors.cpu, session=self._actors.session)

    def _next(self, blocks: Iterator[pa.Table]) -> pa.Table | None:
        try:
            return next(blocks, None)
        except ray.exceptions.RayError as error:
            raise ClassifactError(
                "the Ray cluster failed",
                where=self._where,
                found=str(error)[-500:],
                do="mend the cause, then run the same command with --resume: what was scored is kept",
            ) from error

    def _blocks(self) -> Generator[pa.Table]:
        context = ray.data.DataContext.get_current().copy()
        context.execution_options.preserve_order = True
        # A window a block: larger ones would leave actors idle.
        context.target_max_block_size = 1
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        with ray.data.DataContext.current(context):
            blocks = self._dataset().iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        return cast("Generator[pa.Table]", iter(blocks))

    def _dataset(self) -> Any:
        files = len(self._inputs.sources) - self._inputs.start.number
        windows = ray.data.read_datasource(
            _Windows(self._inputs),
            # Reading takes a small part of a processor, and must not wait until no actor needs one.
            num_cpus=0,
            concurrency=min(_READERS, files),
            override_num_blocks=files,
        )
        with warnings.catch_warnings():
            # That of `max_task_retries`, which Ray takes below the version that pyproject.toml allows, is not a user's.
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
            return windows.map_batches(
                ScoreActor,
                fn_constructor_args=(self._work,),
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=self.workers),
                max_task_retries=_TRIES,
                **({"num_gpus": 1} if self._on_gpu else {"num_cpus": self._threads}),
            )


class _Windows(ray.data.Datasource):
    """The windows of all inputs, each input read by one task."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray has gaps.
        self._inputs = inputs

    def estimate_inmemory_data_size(self) -> int | None:
        """Ray counts blocks as they come."""
        return None

    def get_read_tasks(self, *_: object, **__: object) -> list[ray.data.ReadTask]:
        """A task an input: the first goes on at the position, the others begin."""
        first, inputs = self._inputs.start.number, self._inputs
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [
            ray.data.ReadTask(_reading(inputs, number, inputs.start.records if number == first else 0), unknown)
            for number in range(first, len(inputs.sources))
        ]


def _reading(inputs: Inputs, number: int, skip: int) -> Callable[[], Iterator[pa.Table]]:
    source = inputs.sources[number]
    # A relative path is another one for a process that begins elsewhere; rejected rows tell it as it was given.
    there = source if "://" in source.name else replace(source, name=str(Path(source.name).absolute()))
    sources = [*inputs.sources[:number], there]

    def read() -> Iterator[pa.Table]:
        """A block for each window; of an error, the error in its place."""
        start = InputPosition(number=number, records=skip)
        try:
            for window in read_windows(sources, inputs.columns, inputs.size, start):
                yield _block([replace(window, source=source)])
        except ClassifactError as error:
            # Windows before the damage come first, and are kept.
            yield _block([error])

    return read


def _block(items: Iterable[object]) -> pa.Table:
    return pa.table({_ITEM: pa.array([pickle.dumps(item) for item in items], pa.large_binary())})


def _items(block: pa.Table) -> Iterator[Any]:
    for data in block.column(_ITEM).to_pylist():
        # From a process of this very job, over Ray's own transport, which is pickle too; never from a file.
        yield pickle.loads(data)  # noqa: S301
