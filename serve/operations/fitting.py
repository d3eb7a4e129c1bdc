"""Whether the libraries that are installed here fit each other, by what each asks for: for `doctor`."""

import importlib.metadata

from trainer.contract.system.installed import installed_version

# What fine-tuning and export stand on. A library that was upgraded alone is not found before a command imports both.
_LIBRARIES = ("transformers", "optimum-onnx", "optimum", "accelerate", "datasets", "peft")


def misfits() -> tuple[list[str], list[str]]:
    """What does not fit, and the lines that mend it; nothing on a machine that only scores."""
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        # transformers brings it: none of them is installed.
        return [], []
    problems, wanted = list[str](), dict[str, None]()
    for name in _LIBRARIES:
        version = installed_version(name)
        for line in _requires(name) if version is not None else ():
            asked = Requirement(line)
            if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
                continue
            found = installed_version(asked.name)
            if found is None or not asked.specifier.contains(found, prereleases=True):
                needs = f"{name} {version} needs {asked.name}{asked.specifier}"
                problems.append(f"{needs}, and {asked.name} {found or '(none)'} is installed")
                wanted |= {name: None, asked.name: None}
    return problems, _repair(wanted) if problems else []


def _repair(wanted: dict[str, None]) -> list[str]:
    """The lines that bring the libraries of `wanted` to the versions of the lane that transformers is of."""
    lines = []
    five = (installed_version("transformers") or "4").split(".")[0] != "4"
    if five and installed_version("optimum-onnx") is not None:
        # It has no version for transformers 5, which exports by itself.
        lines.append("pip uninstall -y optimum-onnx optimum")
        wanted = {name: None for name in wanted if not name.startswith("optimum") and name != "transformers"}
    if wanted:
        lines.append(f"pip install -c constraints{'-5' if five else ''}.txt {' '.join(wanted)}")
    return lines


def _requires(name: str) -> list[str]:
    return importlib.metadata.requires(name) or []
