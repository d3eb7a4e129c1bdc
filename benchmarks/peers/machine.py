"""The machine that figures were made on, and when."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.without_avx512 import MARK
from trainer.contract.system.machine import cpu_count, cpu_flags, memory_limit

# What decides how fast products are.
_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve", "bf16")


def stamp(*, gpu: bool = False) -> dict[str, Any]:
    """As a piece begins and as it ends: the time, how many programs wanted a processor, on average over the last
    minute; the machine, and the commit of the code. gpu: the GPU too.
    """
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "load": round(os.getloadavg()[0], 2),
        "processor": _processor(),
        "instructions": [each for each in _TELLING if each in cpu_flags()],
        "cores": cpu_count(),
        "memory_gb": round((memory_limit() or 0) / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
        "masked": masked(),
        "gpu": gpu_name() if gpu else "",
    }


def gpu_name() -> str:
    """Of the GPU that is used; empty where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def masked() -> str:
    """The instructions that torch and OpenVINO are held to by the environment, such as "AVX2"; empty where by none."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "")


def reaches(*, onnx_runtime: bool) -> bool:
    """Whether a mask, if there is one, holds for a contestant too. onnx_runtime: whether that is what it computes with,
    which is masked where PYTHONPATH names a copy by `without_avx512.py`.
    """
    found = find_spec("onnxruntime")
    copy = found is not None and found.origin is not None and (Path(found.origin).parent / MARK).exists()
    return not onnx_runtime or copy or not masked()


def joined(old: Mapping[str, Any] | None, new: dict[str, Any], same: tuple[str, ...]) -> dict[str, Any]:
    """What was measured now, and beside it the contestants that were measured before and not now: a long table is made
    in pieces.

    same: keys of the record. Where one differs, what was measured before is another table, and goes.
    """
    if old is None or any(old.get(key) != new[key] for key in same):
        return new
    names = {each["name"] for each in new["contestants"]}
    return {
        **old,
        **new,
        "contestants": [*(each for each in old["contestants"] if each["name"] not in names), *new["contestants"]],
    }


def memory_left() -> int | None:
    """Bytes that a further program may take; None where the system does not tell."""
    path = Path("/proc/meminfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    """Of the checkout, with a + where files differ from it; empty outside of one."""
    name, changed = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return name + ("+" if name and changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()
