"""The cascade of one job: what is audited, what its journal and report say, and what a resumed job keeps of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from export.bundle import MANIFEST
from export.cascade.certificate import Target
from serve.journal.state import JobState
from serve.scorer import Scorer
from serve.scoring.audit import auditing, cascade_figures, require_kept, stop_if_broken
from serve.scoring.cascade import Auditing
from trainer.contract.errors import UsageError
from trainer.contract.system.files import sha256


@dataclass(frozen=True, kw_only=True)
class CascadeOptions:
    """What a job was asked about its cascade."""

    scored_by: bool = True
    """Whether a column says which tier answered a row."""
    prove: bool = False
    """Whether to audit as many rows as it takes to show the target, and fail where they do not."""
    audit_stop: bool = False
    """Whether to end the job as soon as its audit is broken."""


@dataclass(frozen=True, kw_only=True)
class JobCascade:
    """The cascade of a job that was asked for an agreement; also where it goes on without the student."""

    target: Target
    audited: Auditing
    options: CascadeOptions

    @classmethod
    def of(
        cls,
        scorer: Scorer,
        options: CascadeOptions,
        rows: Callable[[], int | None],
        before: Mapping[str, Any] | None,
        asked: float | None,
    ) -> "JobCascade | None":
        """The cascade, or None without one.

        rows: how many the job has, if that can be known. before: the identity of the job that is gone on with. asked:
        the agreement; 1 goes on without the student where the job before had one, to its end whatever the audit has
        shown. Raises UsageError where an audit is asked for and no row would be audited.
        """
        key = int(sha256(scorer.bundle.path / MANIFEST)[:16], 16)
        cascade, earlier = scorer.bundle.manifest.cascade, (before or {}).get("agreement")
        if scorer.cascade is None and asked == 1 and cascade is not None and earlier is not None and before is not None:
            kept = CascadeOptions(scored_by=before["scored_by"], prove=before["audit_proves"])
            target = cascade.target(earlier, scorer.bundle.path)
            return cls(target=target, audited=Auditing(share=before["audited_share"], key=key), options=kept)
        if scorer.cascade is None:
            if options.prove or options.audit_stop:
                raise UsageError(
                    "nothing would be audited: without an agreement below 1 the encoder answers every row",
                    found=f"--agreement {'not given' if asked is None else asked}",
                    do="leave out --prove and --audit-stop, or give --agreement 0.995, say",
                )
            return None
        target = scorer.cascade.target
        return cls(target=target, audited=auditing(target, rows(), key, prove=options.prove), options=options)

    def identity(self) -> dict[str, object]:
        """What the output's bytes depend on."""
        return {
            "agreement": self.target.agreement,
            "audited_share": self.audited.share,
            "audit_proves": self.options.prove,
            "scored_by": self.options.scored_by,
        }

    def figures(self, state: JobState) -> dict[str, Any]:
        """The report's part."""
        return cascade_figures(state.cascade, self.target, self.audited.share, state.scored)

    def watch(self, state: JobState) -> None:
        """Raise GateError where the audit so far is broken and the job is to end then."""
        if self.options.audit_stop and state.cascade:
            stop_if_broken(state.cascade, self.target, f"{state.read:,} rows done")

    def require_kept(self, report: Mapping[str, Any]) -> None:
        """Raise GateError where a finished job's audit is broken, or does not show what was to be proven."""
        require_kept(report["cascade"], report["out"], prove=self.options.prove)
