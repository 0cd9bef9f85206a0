"""The templates of the page, and the filters that they use."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

import jinja2
from markupsafe import Markup, escape

from ..citations import in_words
from ..claims import Claim
from ..claims.evidence import shown
from ..display.text import format_number
from ..display.typesetting import prose


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dlntheory.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        {
            "in_words": in_words,
            "shown": shown,
            "words": arguments_in_words,
            "code": code_of,
            "prose": lambda text: Markup(prose(text)),
            # A text without dollar signs is words, whatever signs are in it.
            "words_or_prose": lambda text: Markup(prose(text)) if "$" in text else escape(text),
        }
    )
    return environment


def template(name: str, **filters: Any) -> jinja2.Template:
    """A template of the folder `templates`, in which everything but `Markup` is escaped.

    Args:
        name: of the file.
        **filters: further filters of this template.
    """
    environment = _environment().overlay()
    environment.filters = {**environment.filters, **filters}
    return environment.get_template(name)


def arguments_in_words(arguments: Mapping[str, Any]) -> str:
    """Arguments of a check as a reader would write them: `seed = 0, widths = (2, 3)`."""
    return ", ".join(f"{name.replace('_', ' ')} = {_value(value)}" for name, value in arguments.items())


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        inner = ", ".join(_value(entry) for entry in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return format_number(value)


def code_of(claim: Claim) -> str:
    """The function of the check without its decorator; empty where Python has no source, as in a notebook's past."""
    try:
        lines = textwrap.dedent(inspect.getsource(claim.check)).splitlines()
    except (OSError, TypeError):
        return ""
    starts = [number for number, line in enumerate(lines) if line.startswith("def ")]
    return "\n".join(lines[starts[0] :]) if starts else "\n".join(lines)
