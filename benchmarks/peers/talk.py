"""The contestant's side: load once, then do rounds, told by lines of JSON on standard input. Standard library only.

    {"do": "load", "settings": {...}}    {"seconds": 2.1, "versions": {"torch": "2.13.0"}}
    {"do": "round", ...}                 {"seconds": 4.9, "cpu_seconds": 9.7, "peak_memory_mb": 812, ...}

An answer may be {"error": "..."} instead. The program ends when its standard input does.
"""

import importlib.metadata
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Request = Mapping[str, Any]
Figures = dict[str, Any]
Round = Callable[[Request], Figures]


def speak(load: Callable[[Request], Round], packages: Sequence[str]) -> None:
    """Serve requests until standard input ends.

    load: settings to what does a round. A round gives figures of its own; seconds are measured here unless it gives
        them. packages: distributions whose versions the table tells.
    """
    # What libraries print must not end up among the answers.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    round_: Round | None = None
    figures: Figures
    for line in sys.stdin:
        request = json.loads(line)
        started, used = time.perf_counter(), cpu_seconds()
        try:
            if request["do"] == "load":
                round_ = load(request["settings"])
                figures = {"versions": _versions(packages)}
            elif round_ is None:
                figures = {"error": "a round was asked for before anything was loaded"}
            else:
                figures = round_(request)
        # Whatever a peer raises is its answer; the harness lists it.
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            cause = error.__cause__ or error.__context__
            told = [f"{type(each).__name__}: {each}" for each in (error, cause) if each is not None]
            figures = {"error": " <- ".join(told)[:600]}
        seconds = {"seconds": time.perf_counter() - started, "cpu_seconds": cpu_seconds() - used}
        print(json.dumps({**seconds, "peak_memory_mb": _peak(), **figures}, allow_nan=False), file=channel, flush=True)


def label(load: Callable[[Request], Callable[[list[str]], Sequence[int]]], packages: Sequence[str]) -> None:
    """Serve rounds of labelling: `load` gives a function from texts to numbers of labels.

    Settings hold "texts", a file of JSON lines with a "text" each; a round labels the first "rows" of them.
    """

    def load_texts(settings: Request) -> Round:
        with Path(settings["texts"]).open(encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in file]
        classify = load(settings)
        return lambda request: {"labels": [int(each) for each in classify(texts[: request["rows"]])]}

    speak(load_texts, packages)


def _versions(packages: Sequence[str]) -> dict[str, str]:
    # ONNX Runtime's distribution for GPUs has the module of the one for processors, and another name.
    installed = {each.metadata["Name"] for each in importlib.metadata.distributions(name="onnxruntime-gpu")}
    names = [f"{name}-gpu" if f"{name}-gpu" in installed else name for name in packages]
    return {name: importlib.metadata.version(name) for name in names}


def cpu_seconds() -> float:
    """Of this program and of those it started that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _peak() -> float | None:
    """MB of the most resident memory so far; None where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)
