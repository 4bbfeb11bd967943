"""A table as HTML for notebooks: what a ``Comparison`` shows of itself.

Names come from files that others made, so the template escapes every one of them, and what cannot
be printed (control characters, direction marks) is spelled out.
"""

from collections.abc import Sequence

import jinja2

_ENVIRONMENT = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
_TABLE = _ENVIRONMENT.from_string(
    "<div><p><strong>{{ title }}</strong></p>"
    "{% for line in lines %}<p>{{ line }}</p>{% endfor %}"
    "{% if rows %}<table><thead><tr>"
    "{% for name in heading %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>"
    "{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}"
    "</tbody></table>{% endif %}</div>"
)


def table_html(
    title: str, lines: Sequence[str], heading: Sequence[str], rows: Sequence[Sequence[object]]
) -> str:
    """A title, lines of text and a table, in HTML that Jupyter shows as it is."""
    return _TABLE.render(
        title=_shown(title),
        lines=[_shown(line) for line in lines],
        heading=[_shown(name) for name in heading],
        rows=[[_shown(cell) for cell in row] for row in rows],
    )


def _shown(value: object) -> str:
    """Text as it is, numbers in three digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode()
        for sign in str(value)
    )
