"""A page from its template: one file that holds all it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def fill(template: str, **values: Any) -> str:
    """The text of a page; ``values`` are escaped unless they are markup."""
    environment = Environment(
        loader=PackageLoader("ialp_rllib", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    style = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=Markup(style), **values)
