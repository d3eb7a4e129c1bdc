"""The options of a scoring command, shown by what they are for: thirty in one list are read by nobody."""

from typing import Any

# An option of a command stands in exactly one group; a test holds that.
GROUPS = {
    "What to read": (
        "input_format",
        "delimiter",
        "no_header",
        "columns",
        "quoting",
        "encoding",
        "compression",
        "text_column",
        "max_chars",
        "limit",
        "shard",
    ),
    "What to write": (
        "out",
        "out_format",
        "keep",
        "thresholds",
        "no_abstain",
        "probabilities",
        "top_k",
        "scored_by",
        "prefix",
        "part_rows",
        "drift_report",
    ),
    "How to run": (
        "agreement",
        "prove",
        "audit_stop",
        "precision",
        "device",
        "allow_cpu_fallback",
        "workers",
        "batch_tokens",
        "window",
        "tuned",
        "canary",
        "resume",
        "engine",
        "ray_address",
        "dry_run",
        "price_per_hour",
        "metrics_port",
        "metrics_host",
        "quiet",
    ),
    "What to do about bad rows": ("on_error", "max_errors", "strict"),
}


class InGroups:
    """Put before `click.Command`: its help writes a section of options for each group, and `Other` last."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections in the order of `GROUPS`; the options of each in the order of the table."""
        records = {
            parameter.name: record
            for parameter in self.get_params(ctx)  # type: ignore[attr-defined]  # click.Command's
            # Newer versions of click list arguments too, without a word about them.
            if (record := parameter.get_help_record(ctx)) is not None and record[1]
        }
        for title, names in GROUPS.items():
            self._section(formatter, title, [records.pop(name) for name in names if name in records])
        self._section(formatter, "Other", list(records.values()))

    @staticmethod
    def _section(formatter: Any, title: str, records: list[tuple[str, str]]) -> None:
        if records:
            with formatter.section(title):
                formatter.write_dl(records)
