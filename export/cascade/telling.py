"""A certificate in words: what an export prints, what `inspect` prints, and the model card's section."""

from export.cascade.certificate import Cascade, ClassBound, Target, answer_name
from trainer.contract.visible import as_code, visible

# Classes of too few rows that are named one by one; of the others the number is told.
_NAMED = 5


def cascade_lines(cascade: Cascade) -> list[str]:
    """A line for each agreement, proven or not, and one for each class that has too few rows."""
    rows = cascade.targets[0].rows if cascade.targets else 0
    found = [
        f"student of {cascade.precision}: {cascade.student_rows:,} rows taught it, {rows:,} that neither model was "
        f"trained on set its guards; alone it agrees on {cascade.agreement:.4f} of them",
        f"{'agreement':<10}{'answered':>10}{'proven':>9}{'seen':>7}{'further rows':>24}  metric [95 % interval]",
    ]
    for target in cascade.targets:
        found.append(
            f"{target.agreement:<10g}{target.coverage:>10.1%}{1 - target.agreement:>9.2%}"
            f"{target.wrong / target.rows:>7.2%}{_realised(target):>24}  {_effect(target)}"
        )
        loose = _loose(target)
        found += [
            f"  {answer_name(visible(each.label), each.answer)}: {each.rows:,} rows prove no better than "
            f"{each.bound:.2%}; give more with --unlabelled"
            for each in loose[:_NAMED]
        ]
        if len(loose) > _NAMED:
            found.append(
                f"  and {len(loose) - _NAMED} more of too few rows, with bounds up to {loose[_NAMED].bound:.2%}"
            )
    found += [f"{agreement:<10}not proven: {why}" for agreement, why in cascade.missing.items()]
    return found


def _loose(target: Target) -> list[ClassBound]:
    """The answers of too few rows for the target's bound, the loosest first."""
    wide = [each for each in target.classes if each.bound > 1 - target.agreement + 1e-12]
    return sorted(wide, key=lambda each: -each.bound)


def _bounds(target: Target) -> str:
    """The bounds of the answers in one cell: those of too few rows by name, then what holds for the others."""
    loose = _loose(target)
    names = [answer_name(as_code(each.label), each.answer) for each in loose[:_NAMED]]
    parts = [f"{name} {each.bound:.2%}" for name, each in zip(names, loose, strict=False)]
    if len(loose) > _NAMED:
        parts.append(f"{len(loose) - _NAMED} more up to {loose[_NAMED].bound:.2%}")
    if len(loose) < len(target.classes):
        parts.append(f"each{' other' if loose else ''} {1 - target.agreement:.2%}")
    return ", ".join(parts)


def card_section(cascade: Cascade) -> str:
    """For the model card: a table of the agreements and what the bounds mean."""
    head = (
        "\n## A student for most rows\n\n"
        f"A student (`{cascade.file}`) answers most rows without the encoder: `score --agreement 0.995`. Bounds hold "
        f"together with confidence {cascade.confidence:.0%} for rows drawn as the {cascade.targets[0].rows:,} that set "
        "its guards, each text counted once; every job audits its own rows beside.\n\n"
        "| agreement | answered by the student | differs from the encoder, at most | of each class, at most "
        "| seen on further rows | metric, encoder to both |\n|--:|--:|--:|---|--:|--:|\n"
    )
    rows = [
        f"| {target.agreement:g} | {target.coverage:.1%} | {1 - target.agreement:.2%} "
        f"| {_bounds(target)} "
        f"| {_realised(target)} | {_effect(target)} |"
        for target in cascade.targets
    ]
    missing = [f"Not proven: {agreement} ({why})." for agreement, why in cascade.missing.items()]
    return head + "\n".join(rows) + "\n" + "".join(f"\n{each}\n" for each in missing)


def _realised(target: Target) -> str:
    found = target.realised
    return "-" if found is None else f"{found.wrong}/{found.rows:,} [{found.low:.2%}, {found.high:.2%}]"


def _effect(target: Target) -> str:
    found = target.effect
    if found is None:
        return "-"
    return (
        f"{found.metric} {found.encoder:.4f} to {found.cascade:.4f}, "
        f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    )
