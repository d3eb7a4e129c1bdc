"""What encodings, HTML and exports leave behind in texts."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from trainer.checks.findings import Facts, Finding, Severity, first_examples, quoted, share

# Characters that are shown on each side of a trace.
_CONTEXT = 24
# The share of texts up to which a trace is rare, and less grave.
_FEW = 0.005
# What stands in fewer texts may be a word in brackets.
_MANY = 3
_TAGS = "a|b|i|u|p|br|hr|em|strong|span|div|img|font|sub|sup|table|tr|td|th|ul|ol|li|h[1-6]|script|style|iframe|center"
# What cp1252 and Latin-1 make of the second and later bytes of a character in UTF-8.
_CONTINUED = "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122"


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """A trace to look for in each text."""

    check: str
    severity: Severity
    pattern: re.Pattern[str]
    what: str
    do: str
    few: Severity = "note"
    """How grave it is where hardly any text has it."""


_MARKS = (
    _Mark(
        check="lost_characters",
        severity="warning",
        pattern=re.compile("\ufffd"),
        what="hold U+FFFD, a character that was lost when the file was written",
        do="take the text from its source again, with the right encoding",
        few="warning",
    ),
    _Mark(
        check="mojibake",
        severity="warning",
        pattern=re.compile(f"[\u00c2\u00c3][{_CONTINUED}]|\u00e2\u20ac[{_CONTINUED}]|\u00f0\u0178[{_CONTINUED}]"),
        what="hold UTF-8 that was read as another encoding (\u00c3\u00a9 for \u00e9)",
        do="read the source as UTF-8; `encoding:` of the source, if this file is the source",
    ),
    _Mark(
        check="control_characters",
        severity="warning",
        pattern=re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"),
        what="hold control characters; from U+0080 to U+009F they are cp1252 that was read as Latin-1",
        do="name the encoding cp1252, or clean the source",
    ),
    _Mark(
        check="html",
        severity="warning",
        pattern=re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{1,6}|#x[0-9a-fA-F]{1,6});|</?(?:" + _TAGS + r")\b[^<>]{0,200}>"),
        what="hold HTML",
        do="set input.unescape_html: true for entities (scoring then does so too); remove tags at the source",
    ),
    _Mark(
        check="broken_html",
        severity="warning",
        pattern=re.compile(r"(?<![&\w])(?:#\d{1,5}|amp|quot|lt|gt|nbsp);"),
        what="hold HTML entities that have lost their &",
        do="repair the source, or leave them: what scoring will meet is written the same way",
    ),
    _Mark(
        check="backslashes",
        severity="note",
        pattern=re.compile(r"\\"),
        what="hold a backslash, which often stands for a line break or a quote",
        do="nothing, where scoring meets the same; else replace it at the source",
    ),
    _Mark(
        check="carriage_returns",
        severity="note",
        pattern=re.compile("\r"),
        what="hold carriage returns",
        do="nothing: the tokenizer reads them as white space",
    ),
    _Mark(
        check="line_breaks",
        severity="note",
        pattern=re.compile("\n"),
        what="hold line breaks",
        do="nothing: but programs that take a line for a row will count other rows",
    ),
    _Mark(
        check="outer_space",
        severity="note",
        pattern=re.compile(r"\A\s|\s\Z"),
        what="begin or end with white space",
        do="nothing: most tokenizers drop it",
    ),
)
_PLACEHOLDER = re.compile(r"\[@?[A-Z][A-Z_]{1,15}\]|<(?:URL|USER|NAME|NUMBER|EMAIL|PHONE|DATE)>|@USER\b|\bHTTPURL\b")


def damage(facts: Facts) -> Iterator[Finding]:
    """Traces of damage in the texts as the recipe reads them."""
    texts = [row.whole for row in facts.rows]
    for mark in _MARKS:
        found = [
            (row, match) for row, text in zip(facts.rows, texts, strict=True) if (match := mark.pattern.search(text))
        ]
        if found:
            yield Finding(
                severity=mark.severity if len(found) > _FEW * len(texts) else mark.few,
                check=mark.check,
                what=f"{share(len(found), len(texts))} texts {mark.what}",
                count=len(found),
                examples=first_examples(f"{row.place}: {_around(match)}" for row, match in found),
                do=mark.do,
            )
    yield from _placeholders(facts, texts)


def _placeholders(facts: Facts, texts: list[str]) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for row, text in zip(facts.rows, texts, strict=True):
        for name in set(_PLACEHOLDER.findall(text)):
            counts[name] += 1
            first.setdefault(name, row.place)
    counts = Counter({name: count for name, count in counts.items() if count >= _MANY})
    if counts:
        yield Finding(
            severity="note",
            check="placeholders",
            what="placeholders stand for names or links: "
            + ", ".join(f"{name} in {count}" for name, count in counts.most_common(6)),
            count=sum(counts.values()),
            examples=first_examples(f"{first[name]}: {name}" for name, _ in counts.most_common()),
            do="see that texts to be scored are masked the same way",
        )


def _around(match: re.Match[str]) -> str:
    """The trace with a little of the text around it."""
    start = max(0, match.start() - _CONTEXT)
    return quoted(match.string[start : min(match.end(), match.start() + _CONTEXT) + _CONTEXT])
