"""What this process may use of its machine, and what it has used: the one place that asks the operating system.

Where a system does not tell (no /proc on macOS, no control groups outside a container), the answer is the one that is
right everywhere: all processors, no memory limit, no special instructions.
"""

import math
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
# Locks and a process's memory: only Windows lacks this module.
_NEEDED = ("fcntl", "resource")
# Read when torch, pyarrow and BLAS libraries are loaded, and by tokenizers' Rayon.
_POOLS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")
# OpenMP's standard has no word between spinning on and sleeping at once; libgomp, which torch brings on Linux, takes a
# number of turns: 1,000 are some tens of microseconds, 300,000 its own.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
# A limit on oneDNN's instructions, by its new and its old name, and the first words of those that leave it bf16.
_ONEDNN_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_ONEDNN_WITH_BF16 = ("", "ALL", "DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX10")

# Each of them stops glibc from learning from what a program frees how large a block may come from a thread's own heap.
_MALLOC = {"MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_"}


def unsupported() -> str:
    """Why no command can run on this system, or an empty string."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    return f"this Python ({sys.platform}) has no {' and no '.join(missing)}" if missing else ""


def cpu_count() -> int:
    """Processors that this process may use, by its affinity and by its container's quota (control groups 1 and 2)."""
    return max(1, min([_affinity(), *(math.ceil(quota) for quota in _quotas())]))


def memory_limit() -> int | None:
    """Bytes of memory that this process may use, by its container's limit and the machine's size; None: not told."""
    limits = [_number(folder / "memory.max") for folder in _groups("")]
    limits += [_number(folder / "memory.limit_in_bytes") for folder in _groups("memory")]
    try:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        # A system without these names.
        limits.append(None)
    return min((limit for limit in limits if limit is not None and limit > 0), default=None)


def threads_keep_memory() -> bool:
    """Whether a large block that a thread frees is there for its next one: with glibc, unless its settings are changed.
    Elsewhere the system may take each block back, and has to clear the pages of the next one.
    """
    glibc = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})
    return glibc and not _MALLOC & os.environ.keys() and "glibc.malloc." not in os.environ.get("GLIBC_TUNABLES", "")


def fit_thread_pools() -> None:
    """Keep the threads of torch, pyarrow, BLAS and tokenizers to this process's share of `cpu_count()`.

    Their own defaults know the affinity, but not a container's quota: 64 threads on two processors' time stand still
    most of the time. A smaller number that the user set is kept. Call this before those libraries are imported.

    OpenMP's threads wait shortly and then sleep, unless the user has said how they wait: by default they spin through
    the time slices that the thread they wait for needs.
    """
    if not {*_WAITING, "KMP_BLOCKTIME"}.intersection(os.environ):
        os.environ.update(_WAITING)
    share = max(1, cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))
    for name in _POOLS:
        given = os.environ.get(name, "")
        if (int(given) if given.isdecimal() else _affinity()) > share:
            os.environ[name] = str(share)


def cpu_flags() -> frozenset[str]:
    """The instructions of the processor, in the kernel's words (avx2, avx512_bf16, i8mm); empty: not told."""
    for line in _lines(PROC / "cpuinfo"):
        name, _, words = line.partition(":")
        # x86 and ARM.
        if name.strip() in ("flags", "Features"):
            return frozenset(words.split())
    return frozenset()


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 by instructions that torch uses (AVX512_BF16, AMX, ARM's BF16).

    oneDNN makes torch's products; where its own variable keeps it from these instructions, it has none.
    """
    limit = next((os.environ[name] for name in _ONEDNN_LIMITS if name in os.environ), "").upper()
    allowed = limit in _ONEDNN_WITH_BF16[:3] or limit.startswith(_ONEDNN_WITH_BF16[3:])
    return allowed and not cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def peak_memory() -> int:
    """The most resident memory this program has had, in bytes; 0 where the system does not tell."""
    # The kernel's account of this program; getrusage's begins with that of the process that started it.
    for line in _lines(PROC / "self" / "status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource  # noqa: PLC0415 -- not on every system
    except ModuleNotFoundError:
        return 0
    # macOS counts in bytes, others in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas() -> Iterator[float]:
    """Processors that each control group around this process allows."""
    for folder in _groups(""):
        # "200000 100000", or "max 100000" for no quota.
        quota, _, period = next(iter(_lines(folder / "cpu.max")), "").partition(" ")
        if quota.isdecimal() and period.isdecimal():
            yield int(quota) / int(period)
    for folder in _groups("cpu"):
        given, of = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        # -1 is no quota.
        if given is not None and of is not None and given > 0 and of > 0:
            yield given / of


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups that this process is in, innermost first.

    controller: of version 1; empty for version 2, which has one tree for all. A container may see only the root of a
    tree and the name that its group has outside: then the root is all there is.
    """
    root = CGROUP / controller
    found = next((line for line in _lines(PROC / "self" / "cgroup") if controller in _controllers(line)), "::")
    folder = root / found.split(":", 2)[2].strip("/")
    while folder != root:
        yield folder
        folder = folder.parent
    yield root


def _controllers(line: str) -> list[str]:
    """Of a line "4:cpu,cpuacct:/name"; version 2's has none: "0::/name"."""
    parts = line.split(":", 2)
    return parts[1].split(",") if len(parts) == 3 else []


def _number(path: Path) -> int | None:
    text = next(iter(_lines(path)), "")
    try:
        return int(text)
    except ValueError:
        # "max", or nothing there.
        return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
