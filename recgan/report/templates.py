"""The Jinja templates and the one script of the pages."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from recgan.report import words

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


def template(name: str) -> Template:
    """A Jinja template of this package, everything in it escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_text)
    )
    filters = {"number": words.number, "percent": words.percent, "p_value": words.p_value, "accuracy": words.accuracy}
    environment.filters |= filters
    return environment.get_template(name)


def search_script() -> tuple[Markup, str]:
    """The script that filters the lists, and the source by which the page's policy lets it, and nothing else, run."""
    from markupsafe import Markup

    text = _text("search.js")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"sha256-{digest}"  # noqa: S704


def _text(name: str) -> str:
    return (files("recgan.report") / name).read_text(encoding="utf-8")
