"""A manifest for a person: what an export prints, what `inspect` prints, and how two bundles differ."""

import dataclasses
from collections.abc import Iterable, Iterator

from export.bundle import USUAL_BATCH, ExportManifest, GraphFile
from export.cascade.telling import cascade_lines
from export.proof.parity import measured_rows, shown_drop
from trainer.contract.figures.tables import table as aligned
from trainer.contract.system.files import json_line
from trainer.contract.visible import visible


def precisions_table(manifest: ExportManifest) -> str:
    """A line for each file, and the gain of each pass and setting."""
    parity = next(iter(manifest.graphs.values())).parity
    lines = [
        f"{measured_rows(parity)}, torch in fp32: {parity.metric} {parity.torch_value:.4f}",
        *aligned([_HEADS, *(_figures(*entry) for entry in manifest.graphs.items())]).split("\n"),
    ]
    if parity.unlabelled_rows:
        lines.append(f"agreement and differences: on all rows; drop of {parity.metric}: on the validation rows")
    if any(graph.speed for graph in manifest.graphs.values()):
        lines.append(
            f"same, of {USUAL_BATCH}: over fp32 as exported, in the same batches and in batches of {USUAL_BATCH}"
        )
    lines += [f"{precision}: {_made(graph)}" for precision, graph in manifest.graphs.items()]
    if manifest.cascade is not None:
        lines += ["", *cascade_lines(manifest.cascade)]
    return _shown(lines)


def _shown(lines: Iterable[str]) -> str:
    """Lines of a stranger's words: none moves a terminal's cursor or begins a line."""
    return "\n".join(map(visible, lines))


_HEADS = (
    "precision",
    "size",
    "agreement",
    "largest diff",
    "99 % diff",
    "rows/s",
    "same",
    f"of {USUAL_BATCH}",
    "drop [95 % interval]",
    "",
)


def _figures(precision: str, graph: GraphFile) -> list[str]:
    parity = graph.parity
    return [
        precision,
        f"{graph.bytes / 1e6:.1f} MB",
        f"{parity.label_agreement:.4f}",
        f"{parity.max_difference:.2g}",
        f"{parity.p99_difference:.2g}",
        "-" if graph.rows_per_second is None else f"{graph.rows_per_second:,.0f}",
        "-" if graph.speed is None else f"{graph.speed:.2f}x",
        "-" if graph.speed_over_usual is None else f"{graph.speed_over_usual:.2f}x",
        f"{parity.drop:+.4f} [{parity.drop_low:+.4f}, {parity.drop_high:+.4f}]",
        "" if graph.max_drop is None else shown_drop(parity, graph.max_drop),
    ]


def _made(graph: GraphFile) -> str:
    """How a file was made, and what each step of that gained."""
    # Those that were raced follow with their gains.
    steps = [name for name in graph.passes if name not in graph.gains]
    steps += [f"{name} {gain:.2f}x" for name, gain in graph.gains.items()]
    if graph.quantization:
        steps.append(graph.quantization)
    if graph.kept_in_float:
        steps.append(f"in float: {', '.join(graph.kept_in_float)}")
    return ", ".join(steps) or "as exported"


def markdown(manifest: ExportManifest) -> str:
    """The same table for a page, and the gains under it."""
    parity = next(iter(manifest.graphs.values())).parity
    base = manifest.graphs.get("fp32")
    lines = [
        f"| {manifest.name} | size | agreement | largest / 99 % difference | rows/s | over exported, batches of "
        f"{USUAL_BATCH} | the same batches | over fp32 "
        f"| drop of {parity.metric} ({parity.torch_value:.4f} on {parity.rows:,} rows) |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for precision, graph in manifest.graphs.items():
        parity = graph.parity
        rate = "" if graph.rows_per_second is None else f"{graph.rows_per_second:,.0f}"
        speed = "" if graph.speed is None else f"{graph.speed:.2f}"
        usual = "" if graph.speed_over_usual is None else f"{graph.speed_over_usual:.2f}"
        over = "" if graph.speed is None or base is None or base.speed is None else f"{graph.speed / base.speed:.2f}"
        lines.append(
            f"| {precision} | {graph.bytes / 1e6:.1f} MB | {parity.label_agreement:.4f} "
            f"| {parity.max_difference:.2g} / {parity.p99_difference:.2g} | {rate} | {usual} | {speed} | {over} "
            f"| {parity.drop:+.4f} [{parity.drop_low:+.4f}, {parity.drop_high:+.4f}] |"
        )
    made = [f"* {precision}: {_made(graph)}" for precision, graph in manifest.graphs.items()]
    told = [f"Agreement and differences are of {measured_rows(parity)}.", ""] if parity.unlabelled_rows else []
    return _shown([*lines, "", *told, *made])


def manifest_summary(manifest: ExportManifest) -> dict[str, object]:
    """The figures of each file, as JSON holds them."""
    graphs = {}
    for precision, graph in manifest.graphs.items():
        entry = dataclasses.asdict(graph)
        shown = {} if graph.max_drop is None else {"proven": graph.parity.drop_high <= graph.max_drop}
        # Flat, so that a script reads `drop` beside `bytes`. `entry` has lost its `parity` before the two are joined.
        graphs[precision] = entry | entry.pop("parity") | shown
    cascade = None if manifest.cascade is None else dataclasses.asdict(manifest.cascade)
    return {"name": manifest.name, "graphs": graphs, "cascade": cascade}


def describe(manifest: ExportManifest) -> str:
    """All that a manifest says."""
    contract, policy = manifest.contract, manifest.contract.encoding
    columns, names = " + ".join(contract.input.columns), ", ".join(contract.labels.names)
    decided = f", thresholds {list(contract.labels.thresholds)}" if contract.labels.thresholds else ""
    if contract.labels.costs:
        decided = ", decided by costs"
    if contract.labels.abstain is not None:
        promise = (manifest.decisions or {}).get("abstain")
        decided += f", not answered below a confidence of {contract.labels.abstain.below:.4f}"
        decided += f": {promise['said']}" if isinstance(promise, dict) and "said" in promise else ""
    lines = [
        f"{manifest.name}: {manifest.model_type}, {contract.labels.kind}-label",
        f"labels: {names} (temperature {contract.labels.temperature:g}{decided})",
        f"input: {columns}, at most {policy.max_tokens} tokens ({policy.truncation})",
        "",
        *precisions_table(manifest).split("\n"),
        "",
        f"validated on: {', '.join(f'{name} {graph.instruction_set}' for name, graph in manifest.graphs.items())}",
        f"batches: {manifest.batch_tokens:,} padded tokens",
        *(f"unproven: {name} ({why})" for name, why in manifest.unproven.items()),
        *(
            f"{name}: without {', '.join(graph.disabled_optimizers)}"
            for name, graph in manifest.graphs.items()
            if graph.disabled_optimizers
        ),
        f"exporter: {manifest.exporter}",
        f"made with: {', '.join(f'{tool} {version}' for tool, version in manifest.versions.items())}",
        f"training data: {json_line(manifest.training)}",
        f"test metrics: {json_line((manifest.test_metrics or {}).get('metrics'))}",
        "",
        *(f"{digest}  {name}" for name, digest in manifest.files.items()),
    ]
    return _shown(lines)


def manifest_differences(first: ExportManifest, second: ExportManifest) -> dict[str, tuple[object, object]]:
    """Keys whose values differ, with both values; None where one manifest has no such key."""
    left, right = dict(_flat(dataclasses.asdict(first))), dict(_flat(dataclasses.asdict(second)))
    return {
        key: (left.get(key), right.get(key))
        for key in [*left, *(key for key in right if key not in left)]
        if left.get(key) != right.get(key)
    }


def _flat(content: object, key: str = "") -> Iterator[tuple[str, object]]:
    # An empty dictionary is a value: else one that became empty would be no difference.
    if isinstance(content, dict) and content:
        for name, value in content.items():
            yield from _flat(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, content
