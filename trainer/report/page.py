"""Sections to one HTML file that asks for nothing, runs nothing of others, and takes every text for text."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trainer.contract.system.installed import own_version
from trainer.contract.visible import visible
from trainer.report.blocks import SHORT, Section

# What a mail takes and a phone opens at once.
MOST_BYTES = 2_000_000


def render_page(name: str, lead: str, sections: Sequence[Section]) -> bytes:
    """The page. name: the run's, as it is; lead: a sentence under it."""
    environment = _environment()
    style, script = (_file(environment, name) for name in ("style.css", "sort.js"))
    html = environment.get_template("page.html").render(
        name=one_line(name)[:100],
        lead=lead,
        sections=sections,
        style=style,
        script=script,
        policy=_policy(style, script),
        version=own_version(),
    )
    # Half a surrogate pair (of a file's name) has no bytes.
    return html.encode("utf-8", "backslashreplace")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("trainer.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # An SVG is made by matplotlib from numbers and escaped names (`charts.draw`).
    environment.globals |= {"svg": Markup, "strange": _strange, "lines": _lines, "flat": one_line}
    return environment


def _file(environment: Environment, name: str) -> Markup:
    """A file beside the templates. It is hashed in the policy: a byte of anything else does not run."""
    return Markup(environment.get_template(name).render().strip())  # noqa: S704 -- ours, without a variable


def _harmless(value: Any) -> Any:
    """Every text that the templates put in: without a character that hides, or turns the direction of what follows."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def one_line(text: str) -> str:
    """White space of any kind as single spaces; at the ends, one stays."""
    words = " ".join(text.split())
    return f"{' ' if text[:1].isspace() else ''}{words}{' ' if words and text[-1:].isspace() else ''}"


def _lines(text: str) -> Markup:
    return Markup("\n").join(visible(line) for line in text.splitlines())


def _strange(text: str, most: int, whole: int = 0) -> Markup:
    """A stranger's text: cut, isolated, its end folded where it is long."""
    shown, more = one_line(text[:most]).strip(), (whole or len(text)) - most
    tail = f" … and {more:,} more characters" if more > 0 else ""
    if not shown and not tail:
        # An empty cell, which a card on a phone leaves out.
        return Markup("")
    if len(shown) <= SHORT:
        return Markup("<bdi>{}</bdi>{}").format(visible(shown), tail)
    rest = Markup("<details><summary>more</summary><bdi>{}</bdi>{}</details>").format(visible(shown[SHORT:]), tail)
    return Markup("<bdi>{}…</bdi>{}").format(visible(shown[:SHORT]), rest)


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and nothing runs but the two texts with these hashes; `style` attributes are the charts'."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src-elem '{_hash(style)}'",
            "style-src-attr 'unsafe-inline'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
