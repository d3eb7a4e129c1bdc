"""What people look at: texts of strangers made harmless, probabilities spelled alike everywhere."""

import re

# Controls move a terminal's cursor or turn the direction of a line; none of them is text.
HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    r"""A text whose control and bidi characters are spelled as harmless escapes: \\x1b, \\u202e."""
    return HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


def visible_lines(text: str) -> str:
    """The same of a text whose line breaks are meant."""
    return "\n".join(map(visible, text.split("\n")))


def cut(text: str, most: int) -> str:
    """A text of at most so many characters, its end marked where one was cut off."""
    return text if len(text) <= most else text[: most - 3] + "..."


def as_code(text: str, most: int = 80) -> str:
    """A text of a stranger in a line of Markdown: as code, without what would end that, or the cell of a table."""
    return f"`{cut(visible(text), most).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def probability(value: float) -> str:
    """A probability as every command and page writes it: the same number is the same text, 99.94 %."""
    return f"{100 * value:.2f} %"
