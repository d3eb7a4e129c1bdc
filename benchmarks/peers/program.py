"""The harness's side: a contestant's program, started, asked, and ended."""

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from benchmarks.peers.leash import Leashed

ROOT = Path(__file__).resolve().parents[2]


class Fell(Exception):
    """A contestant that gives no answer, and why."""


class Program:
    """A running contestant. Use it as a context manager: it is ended with the block."""

    def __init__(self, python: Path, module: str, log: Path) -> None:
        self._log, self._ended = log, False
        # Nothing may be fetched while the clock runs, and a name that is not on this machine fails at once.
        own = {
            # What the harness was given may hold another ONNX Runtime.
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "true",
            "PYTHONUNBUFFERED": "1",
        }
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as stream:
            self._process = Leashed(
                [str(python), "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env={**os.environ, **own},
                cwd=ROOT,
                text=True,
            )
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to one request.

        seconds: how long to wait. Raises Fell where the program reports an error, dies, or does not answer in time;
        it is ended then.
        """
        if self._ended:
            raise Fell(f"was ended before {request['do']!r}")
        try:
            print(json.dumps(request, allow_nan=False), file=self._process.stdin, flush=True)
            line = self._lines.get(timeout=seconds)
        except BrokenPipeError:
            line = ""
        except Empty:
            self.close()
            raise Fell(f"no answer to {request['do']!r} within {seconds:.0f} s") from None
        if not line:
            self.close()
            raise Fell(f"died with exit code {self._process.returncode} in {request['do']!r}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.close()
            raise Fell(answer["error"])
        return answer

    def close(self) -> None:
        """End the program; harmless where it has ended."""
        self._ended = True
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                # What was not read any more is of no interest.
                try:
                    stream.close()
                except BrokenPipeError:
                    continue

    def _read(self) -> None:
        stream = self._process.stdout
        while stream is not None:
            try:
                line = stream.readline()
            except ValueError:
                # Closed meanwhile.
                line = ""
            self._lines.put(line)
            if not line:
                return

    def _last_words(self) -> str:
        lines = [line for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it printed nothing"
