"""What this process may use of its machine, and what it has used."""

import os
import resource
import sys
from pathlib import Path


def cpu_count() -> int:
    """Processors that this process may use, by its affinity and by its container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(allowed, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        # No control group, or "max": no quota.
        return allowed


def peak_memory() -> int:
    """The most resident memory this program has had, in bytes."""
    try:
        # The kernel's account of this program; getrusage's begins with that of the process that started it.
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        # Not Linux, or a kernel that does not tell: macOS counts in bytes, others in KiB.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
