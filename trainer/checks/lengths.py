"""How long texts are, what the token limit cuts, and what the tokenizer does not know."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.checks.findings import Facts, Finding, first_examples, quoted, share
from trainer.contract.encoding import Encoded, TextEncoder
from trainer.data.rows import Row

# Texts that are cut, of all, from which on it is a warning; and of one label more than of another.
_CUT_SHARE = 0.1
_CUT_DIFFERENCE = 0.1
# Tokens without a piece of their own, of all, from which on it is a warning.
_UNKNOWN_SHARE = 0.01
# Share of the variance of log length that two groups explain: 0.64 for a bell, 0.75 for a flat line.
_TWO_POPULATIONS = 0.78


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Words of each row [N], and where there is a tokenizer the tokens that it gives and that the limit cuts [N]."""

    words: NDArray[np.int64]
    kept: NDArray[np.int64] | None = None
    cut: NDArray[np.int64] | None = None
    unknown: NDArray[np.int64] | None = None


def measure_lengths(rows: list[Row], encoder: TextEncoder | None) -> Lengths:
    """Count the words and tokens of rows."""
    words = np.array([len(row.text.split()) + len((row.pair or "").split()) for row in rows], dtype=np.int64)
    if encoder is None:
        return Lengths(words=words)
    pairs = [row.pair or "" for row in rows] if any(row.pair is not None for row in rows) else None
    encoded = encoder.encode([row.text for row in rows], pairs)
    return Lengths(words=words, kept=encoded.lengths, cut=encoded.cut, unknown=_unknown(encoded, encoder.unknown_id))


def lengths_table(facts: Facts, lengths: Lengths) -> list[dict[str, Any]]:
    """Median, 95th percentile and maximum of each label's rows, and what is cut of them; a line a label, and all."""
    groups = {"all": np.ones(len(facts.rows), dtype=np.bool_), **_by_label(facts)}
    lines = []
    for name, chosen in groups.items():
        if not chosen.any():
            continue
        line: dict[str, Any] = {"label": name, "rows": int(chosen.sum()), **_figures("words", lengths.words[chosen])}
        if lengths.kept is not None and lengths.cut is not None:
            line |= _figures("tokens", (lengths.kept + lengths.cut)[chosen])
            line["rows_cut"] = float((lengths.cut[chosen] > 0).mean())
            line["tokens_cut"] = float(lengths.cut[chosen].sum() / (lengths.kept + lengths.cut)[chosen].sum())
        lines.append(line)
    return lines


def truncation(facts: Facts, lengths: Lengths) -> Iterator[Finding]:
    """Rows that the limit cuts, many of them or those of one label more than those of another."""
    if lengths.cut is None or lengths.kept is None or not lengths.cut.any():
        return
    shares = {
        name: float((lengths.cut[chosen] > 0).mean()) for name, chosen in _by_label(facts).items() if chosen.any()
    }
    most, least = max(shares, key=lambda name: shares[name]), min(shares, key=lambda name: shares[name])
    unlike = shares[most] - shares[least] > _CUT_DIFFERENCE
    rows = int((lengths.cut > 0).sum())
    longest = np.argsort(-lengths.cut, kind="stable")
    yield Finding(
        severity="warning" if unlike or rows > _CUT_SHARE * len(facts.rows) else "note",
        check="truncation",
        what=f"{share(rows, len(facts.rows))} texts are cut at {facts.recipe.input.max_tokens} tokens "
        f"({facts.recipe.input.truncation}), {share(int(lengths.cut.sum()), int((lengths.cut + lengths.kept).sum()))} "
        f"tokens with them; of {most!r} {100 * shares[most]:.0f} %, of {least!r} {100 * shares[least]:.0f} %",
        count=rows,
        examples=first_examples(
            f"{facts.rows[place].place}: {lengths.cut[place]} tokens cut" for place in longest[:3].tolist()
        ),
        do="raise input.max_tokens, or try truncation: head_tail; a label that is cut more is known by its length",
    )


def unknown(facts: Facts, lengths: Lengths) -> Iterator[Finding]:
    """Tokens that the tokenizer has no piece for."""
    if lengths.unknown is None or lengths.kept is None or not lengths.unknown.any():
        return
    total, tokens = int(lengths.unknown.sum()), int(lengths.kept.sum())
    order = np.argsort(-lengths.unknown / np.maximum(1, lengths.kept), kind="stable")
    yield Finding(
        severity="warning" if total > _UNKNOWN_SHARE * tokens else "note",
        check="unknown_tokens",
        what=f"{share(total, tokens)} tokens are unknown to the tokenizer, in "
        f"{share(int((lengths.unknown > 0).sum()), len(facts.rows))} texts",
        count=total,
        examples=first_examples(
            f"{facts.rows[place].place}: {lengths.unknown[place]} of {lengths.kept[place]}, "
            f"{quoted(facts.rows[place].text, 50)}"
            for place in order[:3].tolist()
            if lengths.unknown[place]
        ),
        do="choose an encoder of the texts' language and script, or try input.unicode: NFKC",
    )


def populations(facts: Facts, lengths: Lengths) -> Iterator[Finding]:
    """Texts of two lengths, and lengths that tell the label: a classifier may learn them in place of the words."""
    logs = np.log(np.maximum(1, lengths.words))
    bound, explained = _two_groups(logs)
    if explained > _TWO_POPULATIONS:
        short = lengths.words <= round(np.exp(bound))
        shares = {name: float(short[chosen].mean()) for name, chosen in _by_label(facts).items() if chosen.any()}
        medians = [np.median(lengths.words[chosen]) for chosen in (short, ~short)]
        yield Finding(
            severity="note",
            check="two_lengths",
            what=f"texts are of two kinds, of {medians[0]:.0f} and {medians[1]:.0f} words (medians): "
            f"{share(int(short.sum()), len(short))} have at most {np.exp(bound):.0f}, "
            f"of {', '.join(f'{name!r} {100 * part:.0f} %' for name, part in shares.items())}",
            count=int(short.sum()),
            examples=_examples(facts, short) + _examples(facts, ~short),
            do="look at both kinds; measure them apart, and see that neither has labels of its own",
        )


def outliers(facts: Facts, lengths: Lengths) -> Iterator[Finding]:
    """Texts far longer than the others: beyond the upper quartile by three times the middle half (Tukey 1977)."""
    low, high = np.percentile(lengths.words, [25, 75])
    bound = high + 3 * max(1, high - low)
    far = np.flatnonzero(lengths.words > bound)
    if len(far):
        yield Finding(
            severity="note",
            check="far_longer",
            what=f"{share(len(far), len(facts.rows))} texts have more than {bound:.0f} words, half of all {low:.0f} to "
            f"{high:.0f}",
            count=len(far),
            examples=first_examples(
                f"{facts.rows[place].place}: {lengths.words[place]:,} words" for place in far.tolist()
            ),
            do="see what they are: two texts in one row, or another kind of text that should be measured apart",
        )


def endings(facts: Facts) -> Iterator[Finding]:
    """Files whose texts were cut before they came here: many end at nearly the same length, in mid-sentence."""
    files: dict[str, list[Row]] = {}
    for row in facts.rows:
        files.setdefault(row.file, []).append(row)
    for file, rows in files.items():
        longest = int(np.percentile([len(row.text) for row in rows], 99))
        at_limit = [row for row in rows if 0.95 * longest <= len(row.text) <= 1.05 * longest]
        open_ended = [row for row in at_limit if row.text.rstrip()[-1:].isalnum()]
        if longest > 50 and len(open_ended) > 0.2 * len(rows):
            yield Finding(
                severity="warning",
                check="cut_texts",
                what=f"{file}: {share(len(open_ended), len(rows))} texts end at about {longest} characters without a "
                "full stop: something has cut them before",
                count=len(open_ended),
                examples=first_examples(f"{row.place}: ...{row.text[-30:]!r}" for row in open_ended),
                do="take the whole texts from the source; where other files hold whole ones, the model can tell them",
            )


def _by_label(facts: Facts) -> dict[str, NDArray[np.bool_]]:
    return {name: np.array([name in row.labels for row in facts.rows], dtype=np.bool_) for name in facts.space.names}


def _figures(what: str, values: NDArray[np.int64]) -> dict[str, int]:
    return {
        f"{what}_median": int(np.median(values)),
        f"{what}_p95": int(np.percentile(values, 95)),
        f"{what}_max": int(values.max()),
    }


def _unknown(encoded: Encoded, unknown_id: int | None) -> NDArray[np.int64]:
    if unknown_id is None:
        return np.zeros(len(encoded), dtype=np.int64)
    counts = np.concatenate([[0], np.cumsum(encoded.ids == unknown_id)])
    return np.asarray(counts[encoded.offsets[1:]] - counts[encoded.offsets[:-1]], dtype=np.int64)


def _two_groups(values: NDArray[np.float64]) -> tuple[float, float]:
    """The bound that parts values best in two, and the share of their variance that it explains (Otsu 1979)."""
    values = np.sort(values)
    if len(values) < 50 or values[0] == values[-1]:
        return 0.0, 0.0
    count = np.arange(1, len(values))
    below, total = np.cumsum(values)[:-1], values.sum()
    between = (below / count - (total - below) / (len(values) - count)) ** 2 * count * (len(values) - count)
    best = int(between.argmax())
    return float(values[best]), float(between[best] / len(values) ** 2 / values.var())


def _examples(facts: Facts, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    row = facts.rows[int(np.flatnonzero(chosen)[0])]
    return (f"{row.place}: {quoted(row.text, 60)}",)
