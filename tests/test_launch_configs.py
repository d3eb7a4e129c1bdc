"""The files that say where a run happens, read by Accelerate's own reader and launcher: everything short of a GPU."""

import argparse
import shlex
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env

FOLDER = Path(__file__).parents[1] / "launch_configs"
# What each must come to: processes, precision, what Accelerate turns on, and whether it needs a GPU.
CONFIGS: dict[str, tuple[int, str, set[str], bool]] = {
    "cpu": (1, "bf16", {"use_cpu"}, False),
    "two_cpu_processes": (2, "no", {"use_cpu", "multi_gpu"}, False),
    "one_gpu": (1, "bf16", set(), True),
    "multi_gpu": (2, "bf16", {"multi_gpu"}, True),
    "multi_node": (16, "bf16", {"multi_gpu"}, True),
    "fsdp": (2, "bf16", {"use_fsdp"}, True),
}
SWITCHES = ("use_cpu", "multi_gpu", "use_fsdp", "use_deepspeed", "use_megatron_lm", "tpu")


def command(name: str) -> list[str]:
    """The command that a config opens with, from the launcher on."""
    return shlex.split((FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0].removeprefix("# "))


def launched(name: str) -> argparse.Namespace:
    """What Accelerate's launcher makes of a config's own command, up to where it would start processes."""
    parsed = launch_command_parser().parse_args(
        [word.replace("launch_configs", str(FOLDER)) for word in command(name)[2:]]
    )
    args: argparse.Namespace = _validate_launch_command(parsed)[0]
    return args


def test_every_config_is_guarded() -> None:
    """The folder holds exactly the six files that this file's table expects something of."""
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(CONFIGS)
    assert len(CONFIGS) == 6


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_loads_and_launches_as_its_first_line_says(name: str) -> None:
    """Accelerate's reader takes the file, and the command it opens with starts trainer/run.py as many times, with the
    precision and the strategy that its name promises.
    """
    processes, precision, switches, _ = CONFIGS[name]
    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert (config.num_processes, config.mixed_precision) == (processes, precision)
    assert command(name)[:4] == ["accelerate", "launch", "--config_file", f"launch_configs/{name}.yaml"]
    args = launched(name)
    assert (args.num_processes, args.mixed_precision) == (processes, precision)
    assert {switch for switch in SWITCHES if getattr(args, switch)} == switches
    assert [args.training_script, *args.training_script_args] == [
        "trainer/run.py",
        "--config",
        "RECIPE.yaml",
        "--out",
        "RUN",
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_says_whether_it_needs_a_gpu(name: str) -> None:
    """Those that cannot run on a CPU say so in their opening lines, and no other does."""
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    opening = " ".join(line for line in text.splitlines() if line.startswith("#"))
    assert ("# Needs " in opening and "GPU" in opening) == CONFIGS[name][3]


def test_the_nodes_of_a_launch_meet_at_the_first_one() -> None:
    """Every machine of multi_node starts its share of the processes and looks for the others at the address given."""
    args = launched("multi_node")
    assert (args.machine_rank, args.main_process_ip, args.main_process_port) == (0, "10.0.0.1", 29500)
    prepare_multi_gpu_env(args)
    assert (args.nnodes, args.nproc_per_node, args.node_rank) == ("2", "8", 0)


def test_fsdp_is_version_2_by_the_encoders_own_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the launcher hands to each process makes an FSDP 2 plugin that cuts between the encoder's layers and saves
    whole weights.
    """
    for name, value in prepare_multi_gpu_env(launched("fsdp")).items():
        monkeypatch.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    assert str(plugin.state_dict_type).endswith("FULL_STATE_DICT")
