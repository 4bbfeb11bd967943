"""HTML files that need nothing else: no network, no other file.

A page's own policy admits the scripts that travel in it, by their digests, and nothing that a name
could smuggle in.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from reports.page.encoding import script_json

_HERE = Path(__file__).parent
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_SCRIPTS = ("data", "tables", "layers", "meshes", "start")


@dataclass(frozen=True)
class Picture:
    """An image for the page; ``form`` is "svg" or "png"."""

    content: bytes
    form: str
    caption: str

    @property
    def source(self) -> str:
        """The image as a ``data:`` address."""
        kind = {"svg": "svg+xml", "png": "png"}[self.form]
        return f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}"


def render(
    template: str, payloads: Sequence[Mapping[str, Any]], *, plots: bool = False, **values: Any
) -> str:
    """A page from one of our templates.

    ``payloads`` are the data of its scripts, in order; ``plots`` says whether they need the
    plotting library (5 MB); ``values`` are the template's own, all of them escaped.
    """
    scripts = ([_plotting()] if plots else []) + [_script()]
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return _ENVIRONMENT.get_template(template).render(
        policy=" ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests),
        scripts=scripts,
        payloads=[script_json(found) for found in payloads],
        **values,
    )


@cache
def _script() -> str:
    texts = [(_HERE / "script" / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    return '"use strict";\n' + "\n".join(texts)


@cache
def _plotting() -> str:
    """The plotting library's own bundle, from its package."""
    # Only here, because importing it takes longer than most pages need.
    from plotly.offline import get_plotlyjs

    # A parser of HTML makes one line end of two, which would change the script's digest.
    return str(get_plotlyjs()).replace("\r\n", "\n")
