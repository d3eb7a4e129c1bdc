"""What a job's audited rows show of its cascade, on this very file: exact intervals, and what they mean in words.

A certificate is of rows like those that set it; a file that has drifted is another matter, so a share of its own rows
goes through both tiers. Intervals are those of Clopper and Pearson, and hold together with 95 % for all rows and for
each answer of the encoder.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from export.cascade.certificate import Target, answer_name
from serve.scoring.cascade import MOST_AUDITED, Auditing
from trainer.contract.errors import GateError, InputError
from trainer.contract.figures.exact import interval, rows_needed, upper_bound

Verdict = Literal["within", "not shown", "broken"]
_ALPHA = 0.05
# A job that looks after every window would some day see a rare draw.
_LOOKING = 0.001
# Classes that a line names.
_NAMED = 5


def auditing(target: Target, rows: int | None, key: int, *, prove: bool) -> Auditing:
    """Which rows of a job are audited: as many as the target needs, and at most MOST_AUDITED of them unless prove.

    rows: of the job; None where they cannot be known. Raises InputError where those are to be proven.
    """
    if rows is None and prove:
        raise InputError("--prove needs to know how many rows there are", do="give files, or leave --prove out")
    share = MOST_AUDITED if rows is None else rows_wanted(target) / max(1, rows)
    return Auditing(share=min(share, 1.0 if prove else MOST_AUDITED), key=key)


def rows_wanted(target: Target) -> int:
    """How many audited rows will most likely show the target, by the rate that was seen where it was proven."""
    error, tests = 1 - target.agreement, 1 + len(target.classes)
    found = target.realised
    seen = target.wrong / target.rows if found is None else (target.wrong + found.wrong) / (target.rows + found.rows)
    rate = min(seen, 0.7 * error)
    rows = rows_needed(error, _ALPHA / tests / 2)
    while upper_bound(min(rows, math.ceil(rate * rows + 2 * math.sqrt(rate * rows))), rows, _ALPHA / tests / 2) > error:
        rows += max(1, rows // 8)
    return rows


def cascade_figures(cascade: Mapping[str, list[int]], target: Target, share: float, scored: int) -> dict[str, Any]:
    """The report's part on the cascade. cascade: counts as a job's `JobState` has them. scored: rows."""
    counts = [cascade.get(str(side), [0, 0]) for side in range(len(target.classes))]
    classes = [
        {"label": each.label, "answer": each.answer, "rows": rows, "differ": wrong, "bound": each.bound}
        for each, (rows, wrong) in zip(target.classes, counts, strict=True)
    ]
    rows, wrong = cascade.get("all", [0, 0])
    taken = cascade.get("taken", [0])[0]
    return _judged(
        {
            "agreement": target.agreement,
            "rows_by_student": taken,
            "coverage": round(taken / scored, 4) if scored else 0.0,
            "audit": {
                "share": share,
                "rows": rows,
                "by_student": cascade.get("audited", [0])[0],
                "differ": wrong,
                "bound": round(1 - target.agreement, 12),
                "rows_wanted": rows_wanted(target),
                "classes": classes,
            },
        }
    )


def joined(parts: Sequence[dict[str, Any] | None], scored: int) -> dict[str, Any] | None:
    """The parts of several shares as one; None where there is no cascade."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    audits = [part["audit"] for part in found]
    taken = sum(part["rows_by_student"] for part in found)
    classes = [
        {**each, **{name: sum(audit["classes"][side][name] for audit in audits) for name in ("rows", "differ")}}
        for side, each in enumerate(audits[0]["classes"])
    ]
    sums = {name: sum(audit[name] for audit in audits) for name in ("rows", "by_student", "differ")}
    return _judged(
        {
            "agreement": found[0]["agreement"],
            "rows_by_student": taken,
            "coverage": round(taken / scored, 4) if scored else 0.0,
            "audit": {**audits[0], **sums, "classes": classes},
        }
    )


def _judged(part: dict[str, Any]) -> dict[str, Any]:
    """With intervals and verdicts; the whole is broken where any of its answers is."""
    audit = part["audit"]
    level = 1 - _ALPHA / (1 + len(audit["classes"]))
    classes = [_with_verdict(each, level) for each in audit["classes"]]
    whole = _with_verdict(audit, level)
    if any(each["verdict"] == "broken" for each in classes):
        whole["verdict"] = "broken"
    return {**part, "audit": {**whole, "classes": classes}}


def _with_verdict(counts: dict[str, Any], level: float) -> dict[str, Any]:
    low, high = interval(counts["differ"], counts["rows"], level)
    verdict: Verdict = "broken" if low > counts["bound"] else "within" if high <= counts["bound"] else "not shown"
    return {**counts, "low": round(low, 6), "high": round(high, 6), "verdict": verdict}


def told_cascade(report: Mapping[str, Any]) -> list[str]:
    """What a job's report says of its cascade, in words; nothing where it had none."""
    return [] if report["cascade"] is None else lines(report["cascade"])


def lines(part: Mapping[str, Any]) -> list[str]:
    """The part in words."""
    audit = part["audit"]
    told = [
        f"{part['rows_by_student']:,} rows ({part['coverage']:.1%}) answered by the student at agreement "
        f"{part['agreement']:g}",
        f"audit of {audit['rows']:,} rows, of which the student would answer {audit['by_student']:,}: {_said(audit)}",
    ]
    told += [f"  {_named(each)}: {_said(each)}" for each in audit["classes"] if each["verdict"] == "broken"]
    return told + (_by_class(audit["classes"]) if audit["rows"] else []) + _what_it_takes(audit)


def _said(counts: Mapping[str, Any]) -> str:
    seen = f"{counts['differ']:,} of {counts['rows']:,} differ [{counts['low']:.2%}, {counts['high']:.2%}]"
    if counts["verdict"] == "within":
        return f"shown to be within {counts['bound']:.2%}: {seen}"
    if counts["verdict"] == "broken":
        return f"broken, more than {counts['bound']:.2%} differ: {seen}"
    if not counts["rows"]:
        return f"not shown to be within {counts['bound']:.2%}: no row was audited"
    so_many = f"{counts['rows']:,} rows show no better than {counts['high']:.2%}"
    return f"not shown to be within {counts['bound']:.2%}: {seen}; {so_many}"


def _by_class(classes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line of the classes whose bound is not broken: which are shown, and what the rows of the others show."""
    shown = [_named(each) for each in classes if each["verdict"] == "within"]
    left = sorted((each for each in classes if each["verdict"] == "not shown"), key=lambda each: float(each["high"]))
    others = [f"{_named(each)} (no better than {each['high']:.2%})" for each in left]
    parts = [f"{what}: {_listed(names)}" for what, names in (("shown", shown), ("not shown", others)) if names]
    return [f"  by class, {'; '.join(parts)}"] if parts else []


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _what_it_takes(audit: Mapping[str, Any]) -> list[str]:
    """How many audited rows would show the target of all rows, where too few were for that."""
    wanted = audit["rows_wanted"]
    # Between the two, --prove was given and audits that many, more or less.
    if audit["verdict"] != "not shown" or audit["rows"] >= wanted or MOST_AUDITED < audit["share"] < 1:
        return []
    if audit["share"] >= 1:
        return [f"  some {wanted:,} audited rows would show it: every row was audited, so this job has too few"]
    enough = f"a job of {math.ceil(wanted / MOST_AUDITED):,} rows or more"
    unasked = f"without it at most {MOST_AUDITED:.0%} of a job's rows are audited, which is enough for {enough}"
    return [f"  some {wanted:,} audited rows would show it: --prove audits as many; {unasked}"]


def _named(each: Mapping[str, Any]) -> str:
    return answer_name(each["label"], each["answer"])


def require_kept(part: Mapping[str, Any] | None, where: object, *, prove: bool = False) -> None:
    """Raise GateError where an audit is broken; with prove also where it does not show the target."""
    if part is None:
        return
    verdict = part["audit"]["verdict"]
    if verdict == "broken" or (prove and verdict != "within"):
        raise GateError(
            "the student answers otherwise than was proven" if verdict == "broken" else "the target was not shown",
            where=where,
            found="; ".join(line.strip() for line in lines(part)[1:]),
            do="the output is kept and marked in its report; score such rows without --agreement"
            if verdict == "broken"
            else "the output is kept; give --prove more rows to audit, or a lower --agreement",
        )


def stop_if_broken(cascade: Mapping[str, list[int]], target: Target, where: object) -> None:
    """Raise GateError as soon as a running job's audit is broken beyond what looking so often may show by chance."""
    tests = 1 + len(target.classes)
    counts = [(cascade.get("all", [0, 0]), 1 - target.agreement)]
    counts += [(cascade.get(str(side), [0, 0]), each.bound) for side, each in enumerate(target.classes)]
    for (rows, wrong), bound in counts:
        low, _ = interval(wrong, rows, 1 - _LOOKING / tests)
        if low > bound:
            raise GateError(
                "the student answers otherwise than was proven",
                where=where,
                found=f"{wrong:,} of {rows:,} audited rows, at least {low:.2%}",
                expected=f"at most {bound:.2%}",
                do="go on with --resume --agreement 1, or score anew without --agreement",
            )
