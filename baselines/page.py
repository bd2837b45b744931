"""The frame and the pieces of a report's page: HTML text, one file, no script, nothing loaded.

Readable on a phone, by day and by night. What comes from agents, problems and files goes through
`text_html`; everything else here takes HTML.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from baselines.canvas import COLOURS
from baselines.results import one_line

PAGE_FILE = "report.html"
"""Name of every report's page in its folder."""
RESULTS_FILE = "results.json"
"""Name of the data that a benchmark's or the demo's page shows."""


def document(title: str, lead: str, sections: Sequence[str]) -> str:
    """Returns a whole page that loads nothing and runs nothing.

    Args:
        title: plain text.
        lead: HTML below the heading.
        sections: HTML, as `section` returns it.
    """
    heading = text_html(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{heading}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n"
        f"<header>\n<h1>{heading}</h1>\n{lead}</header>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """Returns a section with its heading; nothing if it is empty."""
    body = "".join(parts)
    return f"<section>\n<h2>{heading}</h2>\n{body}</section>\n" if body else ""


def subsection(heading: str, *parts: str) -> str:
    """Returns a part of a section with its heading; nothing if it is empty."""
    body = "".join(parts)
    return f"<h3>{heading}</h3>\n{body}" if body else ""


def preformatted(text: str) -> str:
    """Returns a text from anywhere with its line breaks."""
    lines = ("".join(c if c.isprintable() else " " for c in line) for line in text.splitlines())
    return f'<pre class="scroll" tabindex="0">{escape(chr(10).join(lines))}</pre>\n'


def text_html(text: str) -> str:
    """Returns plain text from anywhere as HTML, on one line."""
    return escape(one_line(text))


def scrolling_table(heads: str, rows: Sequence[str], label: str) -> str:
    """Returns a table that is scrolled sideways where it is wider than the page."""
    return (
        f'<div class="scroll" role="region" aria-label="{text_html(label)}" tabindex="0"><table>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table></div>\n"
    )


def number_cell(content: str, kind: str = "") -> str:
    """Returns a cell of numbers; a kind, better or worse, gives it a colour."""
    return f'<td class="number{kind and f" {kind}"}">{content}</td>'


def figure(plot: str, heading: str, about: str, below: str = "", wide: bool = False) -> str:
    """Returns a plot with its caption; a wide one keeps its size and is scrolled."""
    if wide:
        plot = f'<div class="scroll" role="region" aria-label="{heading}" tabindex="0">{plot}</div>'
    return (
        f"<figure{' class=wide' if wide else ''}>\n<figcaption><strong>{heading}</strong><span>{about}</span>"
        f"</figcaption>\n{plot}\n{below}</figure>\n"
    )


def figure_grid(figures: Sequence[str]) -> str:
    """Returns figures side by side, as many as there is room for."""
    return f'<div class="figures">\n{"".join(figures)}</div>\n' if figures else ""


def definitions(values: dict[str, Any]) -> str:
    """Returns a table of names and values."""
    if not values:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{text_html(str(name))}</th><td><code>{text_html(_plain(value))}</code></td></tr>\n'
        for name, value in values.items()
    )
    return f'<div class="scroll"><table class="definitions"><tbody>\n{rows}</tbody></table></div>\n'


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def bullets(notes: Sequence[str]) -> str:
    """Returns a list of sentences."""
    return f"<ul>\n{''.join(f'<li>{text_html(note)}</li>' for note in notes)}\n</ul>\n" if notes else ""


def _style() -> str:
    light = "".join(f"--{name}:{pair[0]};" for name, pair in COLOURS.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in COLOURS.items())
    return (
        f":root{{color-scheme:light dark;--page:#f4f5f7;{light}}}\n"
        f"@media(prefers-color-scheme:dark){{:root{{--page:#121518;{dark}}}}}\n{_CSS}"
    )


_CSS = """\
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}
main{max-width:68rem;margin:0 auto;padding:1.5rem 1rem 4rem}
header p,dl,ul{max-width:44rem}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0 1rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.5rem 0 .75rem}
h3{font-size:1rem;margin:1.75rem 0 .6rem}
pre{padding:.75rem 1rem;font-size:.85rem;margin:0 0 1rem}
.better{color:var(--good)}
.worse{color:var(--agent-1)}
.warning{border-left:4px solid var(--agent-1);padding-left:1rem}
code{font-family:ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:.9em;
overflow-wrap:anywhere}
small,figcaption span{display:block;color:var(--muted);font-size:.8rem;font-weight:400}
.scroll{overflow-x:auto}
section>.scroll,figure{background:var(--card);border:1px solid var(--faint);border-radius:.6rem}
table{border-collapse:collapse;width:100%}
th,td{padding:.5rem .8rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--faint)}
tbody tr:last-child>*{border-bottom:0}
thead th{color:var(--muted);font-size:.85rem;font-weight:500;vertical-align:bottom}
tbody th{font-weight:600}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.yardstick>*{color:var(--muted)}
.yardstick th{font-weight:500}
.definitions th{font-weight:500;color:var(--muted);white-space:nowrap;width:1%}
dl{margin:1rem 0;font-size:.9rem}
dt{font-weight:600;float:left;clear:left;margin-right:.5rem}
dd{margin:0 0 .25rem;color:var(--muted)}
.figures{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr))}
figure{margin:0 0 1rem;padding:1rem;min-width:0}
.figures figure{margin:0}
figcaption{margin-bottom:.75rem}
figcaption strong{overflow-wrap:anywhere}
svg{display:block;width:100%;max-width:28rem;height:auto}
.wide svg{width:auto;max-width:none}
details{margin-top:.75rem;font-size:.85rem}
@media(max-width:30rem){main{padding:1rem .75rem 3rem}figure{padding:.75rem}}
summary{cursor:pointer;color:var(--muted)}
"""
