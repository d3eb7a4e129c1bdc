"""A manifest for a person: what an export prints."""

import dataclasses

from export.bundle import ExportManifest


def table(manifest: ExportManifest) -> str:
    """A line for each file, and the gain of each pass and setting."""
    parity = next(iter(manifest.graphs.values())).parity
    lines = [
        f"{parity.rows:,} validation rows, torch in fp32: {parity.metric} {parity.torch_value:.4f}",
        f"{'precision':<10}{'size':>10}{'agreement':>11}{'largest diff':>14}{'99 % diff':>11}"
        f"{'rows/s':>8}{'speed':>7}  drop [95 % interval]",
    ]
    for precision, graph in manifest.graphs.items():
        parity = graph.parity
        rate = "-" if graph.rows_per_second is None else f"{graph.rows_per_second:,.0f}"
        speed = "-" if graph.speed is None else f"{graph.speed:.2f}x"
        lines.append(
            f"{precision:<10}{graph.bytes / 1e6:>7.1f} MB{parity.label_agreement:>11.4f}{parity.max_difference:>14.2g}"
            f"{parity.p99_difference:>11.2g}{rate:>8}{speed:>7}"
            f"  {parity.drop:+.4f} [{parity.drop_low:+.4f}, {parity.drop_high:+.4f}]"
        )
    for precision, graph in manifest.graphs.items():
        gains = ", ".join(f"{name} {gain:.2f}x" for name, gain in graph.gains.items()) or ", ".join(graph.passes)
        how = (
            f" ({graph.quantization}; in float: {', '.join(graph.kept_in_float) or 'none'})"
            if graph.quantization
            else ""
        )
        lines.append(f"{precision}{how}: {gains or 'as exported'}")
    return "\n".join(lines)


def summary(manifest: ExportManifest) -> dict[str, object]:
    """The figures of each file, as JSON holds them."""
    graphs = {}
    for precision, graph in manifest.graphs.items():
        entry = dataclasses.asdict(graph)
        graphs[precision] = entry | entry.pop("parity")
    return {"name": manifest.name, "graphs": graphs}
