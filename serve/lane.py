"""The fast lane of one job: what is audited of it, what its journal and report say, and what is left of it later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from export.bundle import MANIFEST
from export.cascade.certificate import Target
from serve.journal.state import JobState
from serve.scorer import Scorer
from serve.scoring.audit import auditing, lane_figures, require_kept, stop_if_broken
from serve.scoring.fast_lane import Auditing
from trainer.contract.system.files import sha256


@dataclass(frozen=True, kw_only=True)
class LaneOptions:
    """What a job was asked about its fast lane."""

    scored_by: bool = True
    """Whether a column says which tier answered a row."""
    prove: bool = False
    """Whether to audit as many rows as it takes to show the target, and fail where they do not."""
    audit_stop: bool = False
    """Whether to end the job as soon as its audit is broken."""


@dataclass(frozen=True, kw_only=True)
class JobLane:
    """The lane of a job that was asked for an agreement; also where it goes on without the student."""

    target: Target
    audited: Auditing
    options: LaneOptions

    @classmethod
    def of(
        cls,
        scorer: Scorer,
        options: LaneOptions,
        rows: Callable[[], int | None],
        before: Mapping[str, Any] | None,
        asked: float | None,
    ) -> "JobLane | None":
        """The lane, or None without one.

        rows: how many the job has, if that can be known. before: the identity of the job that is gone on with. asked:
        the agreement; 1 goes on without the student where the job before had one.
        """
        key = int(sha256(scorer.bundle.path / MANIFEST)[:16], 16)
        cascade, earlier = scorer.bundle.manifest.cascade, (before or {}).get("agreement")
        if scorer.fast is None and asked == 1 and cascade is not None and earlier is not None and before is not None:
            kept = LaneOptions(
                scored_by=before["scored_by"], prove=before["audit_proves"], audit_stop=options.audit_stop
            )
            target = cascade.target(earlier, scorer.bundle.path)
            return cls(target=target, audited=Auditing(share=before["audited_share"], key=key), options=kept)
        if scorer.fast is None:
            return None
        target = scorer.fast.target
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
        return lane_figures(state.lane, self.target, self.audited.share, state.scored)

    def watch(self, state: JobState) -> None:
        """Raise GateError where the audit so far is broken and the job is to end then."""
        if self.options.audit_stop and state.lane:
            stop_if_broken(state.lane, self.target, f"{state.read:,} rows done")

    def require_kept(self, report: Mapping[str, Any]) -> None:
        """Raise GateError where a finished job's audit is broken, or does not show what was to be proven."""
        require_kept(report["fast_lane"], report["out"], prove=self.options.prove)
