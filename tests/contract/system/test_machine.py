"""What a process may use, on machines that are not this one: fake control groups, fake /proc, missing modules."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from export.bundle import instruction_set
from trainer.contract.errors import InputError
from trainer.contract.system import machine
from trainer.contract.system.locks import hold

ROOT = Path(__file__).parents[3]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty roots for /proc and /sys/fs/cgroup, as on macOS, and 64 processors of 64 GiB."""
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 2**24, "SC_PAGE_SIZE": 4096}.__getitem__)
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "LOCAL_WORLD_SIZE", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        # Set first: so what a test's code sets is taken back, too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def put(root: Path, files: dict[str, str]) -> None:
    """Write files, each with one line end."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")


def test_a_system_that_tells_nothing(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc, control groups and affinity (macOS) all processors and all memory may be used, and no special
    instructions are claimed.
    """
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert not (fake / "proc").exists()
    assert (machine.cpu_count(), machine.memory_limit()) == (10, 2**36)
    assert (machine.cpu_flags(), machine.cpu_has_bf16()) == (frozenset(), False)
    assert machine.peak_memory() > 10**6


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 64), ("200000 100000", 2), ("50000 100000", 1), ("250000 100000", 3)]
)
def test_quota_of_version_2(fake: Path, quota: str, expected: int) -> None:
    """A container's own group, seen as the root, bounds processors, rounded up and at least one."""
    put(fake, {"proc/self/cgroup": "0::/", "cgroup/cpu.max": quota})
    assert machine.cpu_count() == expected


def test_groups_within_groups_of_version_2(fake: Path) -> None:
    """Of nested groups (a systemd slice, a pod) the smallest limit holds, whichever sets it."""
    put(
        fake,
        {
            "proc/self/cgroup": "0::/kube.slice/pod/main",
            "cgroup/kube.slice/cpu.max": "800000 100000",
            "cgroup/kube.slice/pod/cpu.max": "300000 100000",
            "cgroup/kube.slice/pod/main/cpu.max": "max 100000",
            "cgroup/kube.slice/memory.max": "max",
            "cgroup/kube.slice/pod/memory.max": str(2**30),
        },
    )
    assert (machine.cpu_count(), machine.memory_limit()) == (3, 2**30)


def test_limits_of_version_1(fake: Path) -> None:
    """Each controller has its own tree; a name from outside the container that is not in it means the root."""
    put(
        fake,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n0::/",
            "cgroup/cpu/cpu.cfs_quota_us": "150000",
            "cgroup/cpu/cpu.cfs_period_us": "100000",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "cgroup/memory/docker/abc/memory.limit_in_bytes": str(3 * 2**30),
        },
    )
    assert (machine.cpu_count(), machine.memory_limit()) == (2, 3 * 2**30)


def test_no_limit_of_version_1(fake: Path) -> None:
    """-1 is no quota, and the number that stands for no limit is more than the machine has."""
    put(
        fake,
        {
            "cgroup/cpu/cpu.cfs_quota_us": "-1",
            "cgroup/cpu/cpu.cfs_period_us": "100000",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert (machine.cpu_count(), machine.memory_limit()) == (64, 2**36)


@pytest.mark.parametrize("damaged", ["", "x y", "-5 100000", "100000", "100000 0x"])
def test_a_limit_that_cannot_be_read_is_none(fake: Path, damaged: str) -> None:
    """An odd file bounds nothing and ends nothing."""
    put(
        fake,
        {
            "proc/self/cgroup": "odd\n0::/../else",
            "cgroup/cpu.max": damaged,
            "cgroup/memory.max": f"{damaged} bytes",
        },
    )
    assert (machine.cpu_count(), machine.memory_limit()) == (64, 2**36)


@pytest.mark.parametrize(
    ("given", "quota", "processes", "expected"),
    [
        (None, "max 100000", "", None),
        (None, "200000 100000", "", "2"),
        ("64", "200000 100000", "", "2"),
        ("1", "200000 100000", "", "1"),
        ("32", "400000 100000", "2", "2"),
        ("1", "50000 100000", "4", "1"),
    ],
)
def test_thread_pools_fit_the_quota(
    fake: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, quota: str, processes: str, expected: str | None
) -> None:
    """Pools get this process's share of the quota, unless they were to have less; without a quota they are left
    alone.
    """
    put(fake, {"cgroup/cpu.max": quota})
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False) if given is None else monkeypatch.setenv(name, given)
    machine.fit_thread_pools()
    assert [os.environ.get(name) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")] == [expected] * 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["PASSIVE", "1000"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", None]),
        ({"GOMP_SPINCOUNT": "9"}, [None, "9"]),
        ({"KMP_BLOCKTIME": "1"}, [None, None]),
    ],
)
def test_waiting_threads_sleep(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: list[str | None]
) -> None:
    """OpenMP's threads soon sleep where they wait, unless the user has said how they wait."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    machine.fit_thread_pools()
    assert [os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")] == expected


def test_the_libraries_obey(tmp_path: Path) -> None:
    """In a command under a quota of one processor torch and pyarrow start one thread, although two are there."""
    put(tmp_path, {"cgroup/cpu.max": "100000 100000"})
    code = (
        "import os, sys; from pathlib import Path; from trainer.contract import errors\n"
        "from trainer.contract.system import machine\n"
        "machine.CGROUP = Path(sys.argv[1]); machine._affinity = lambda: 2\n"
        "errors.show_errors(lambda: None)()\n"
        "import pyarrow, torch; print(torch.get_num_threads(), pyarrow.cpu_count(), os.environ['RAYON_NUM_THREADS'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cgroup")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("line", "limit", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16", "", True),
        ("flags\t\t: fpu avx2 amx_bf16 amx_tile", "ALL", True),
        ("Features\t: fp asimd asimddp i8mm bf16", "", True),
        ("flags\t\t: fpu avx2 avx512f avx512_vnni", "", False),
        ("Features\t: fp asimd", "", False),
        ("flags\t\t: avx512_bf16", "AVX2", False),
        ("flags\t\t: avx512_bf16", "avx512_core_vnni", False),
        ("flags\t\t: avx512_bf16", "AVX512_CORE_BF16", True),
        ("flags\t\t: avx512_bf16 amx_bf16", "AVX10_1_512_AMX", True),
    ],
)
def test_bf16_needs_instructions(
    fake: Path, monkeypatch: pytest.MonkeyPatch, line: str, limit: str, expected: bool
) -> None:
    """AVX512_BF16, AMX or ARM's BF16 count, where oneDNN may use them."""
    put(fake, {"proc/cpuinfo": f"processor : 0\n{line}\n\nprocessor : 1"})
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "SSE41")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert machine.cpu_has_bf16() is expected
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert not machine.cpu_has_bf16(), "the old name counts where the new one is not set"


# The words of ARM kernels for Cortex-A72 (Raspberry Pi 4), Neoverse N1 (Graviton 2) and V1 (Graviton 3). What they call
# asimd is NEON, asimddp its dot products.
_N1 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs"
ARM = {
    "NEON": "fp asimd evtstrm crc32 cpuid",
    "NEON_DOT": _N1,
    "NEON_I8MM": f"{_N1} jscvt fcma sha3 sm3 sm4 sha512 sve asimdfhm dit paca pacg svei8mm svebf16 i8mm bf16 dgh rng",
}
_CPU = """processor\t: {number}
BogoMIPS\t: 243.75
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd0c
CPU revision\t: 1
"""


@pytest.mark.parametrize("machine_name", ["aarch64", "arm64"])
@pytest.mark.parametrize("expected", ARM)
def test_instructions_of_arm(fake: Path, monkeypatch: pytest.MonkeyPatch, expected: str, machine_name: str) -> None:
    """The kernel's words, in a block for each processor, decide the instruction set, and the newest alone has bf16."""
    text = "\n".join(_CPU.format(number=number, features=ARM[expected]) for number in range(4))
    put(fake, {"proc/cpuinfo": text})
    monkeypatch.setattr("platform.machine", lambda: machine_name)
    assert instruction_set() == expected
    assert machine.cpu_has_bf16() is (expected == "NEON_I8MM")


def test_arm_with_only_the_vectors_forms_is_not_taken_for_more(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words that contain another word (svei8mm, svebf16) are not that word, and where nothing is told there is NEON."""
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    put(fake, {"proc/cpuinfo": _CPU.format(number=0, features="fp asimd asimddp sve svei8mm svebf16")})
    assert (instruction_set(), machine.cpu_has_bf16()) == ("NEON_DOT", False)
    (fake / "proc" / "cpuinfo").unlink()
    assert (instruction_set(), machine.cpu_has_bf16()) == ("NEON", False)


WITHOUT = "import sys; sys.modules['fcntl'] = sys.modules['resource'] = None\n"


@pytest.mark.parametrize("package", ["trainer", "export", "serve"])
def test_windows_is_told_in_the_first_line(package: str, tmp_path: Path) -> None:
    """Without fcntl and resource a command ends with a first line that says where it runs, and does nothing."""
    arguments = {"trainer": ["evaluate"], "export": [], "serve": ["check"]}[package]
    code = f"{WITHOUT}from {package}.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments, str(tmp_path), *(["--out", "x"] if package == "export" else [])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr.splitlines()[0] == (
        "error: Classifact's commands run on Linux and macOS, not on Windows itself"
    ), result.stderr
    assert "no fcntl and no resource" in result.stderr
    assert result.returncode == 1


def test_the_scorer_imports_without_them() -> None:
    """`from serve import Scorer` needs neither locks nor resource, and the memory used is then not told."""
    code = (
        f"{WITHOUT}from pathlib import Path; from serve import Scorer; from trainer.contract.system import machine\n"
        "machine.PROC = Path('nowhere'); print(Scorer.__name__, machine.peak_memory())"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["Scorer", "0"]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be locked (Lustre as often mounted) the error says so, and what to do."""

    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match="cannot lock") as error:
        hold(tmp_path / "lock")
    assert "flock" in str(error.value)


def test_a_lock_is_one_process_s(tmp_path: Path) -> None:
    """A second holder is refused until the first is closed."""
    with hold(tmp_path / "lock"), pytest.raises(BlockingIOError):
        hold(tmp_path / "lock")
    hold(tmp_path / "lock").close()


@pytest.mark.parametrize(
    ("setting", "keeps"),
    [
        ({}, True),
        ({"MALLOC_ARENA_MAX": "2"}, True),
        ({"MALLOC_TRIM_THRESHOLD_": "65536"}, False),
        ({"MALLOC_TOP_PAD_": "0"}, False),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}, False),
        ({"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}, True),
    ],
)
def test_glibc_keeps_memory_unless_told_otherwise(
    *, setting: dict[str, str], keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask and others set thresholds; then each large block is taken from the system, and cleared."""
    monkeypatch.setattr(os, "confstr_names", {"CS_GNU_LIBC_VERSION": 2})
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    assert machine.threads_keep_memory() is keeps


def test_another_c_library_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS, or with musl, there is no such name."""
    monkeypatch.setattr(os, "confstr_names", {"CS_PATH": 1})
    assert not machine.threads_keep_memory()
