"""Who is the best in each environment of a benchmark: as sentences, or as one table where there are several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from baselines.arena_results import COMPARED, FEWEST_PROBLEMS, ArenaResults, Comparison
from baselines.page import bullets, number_cell, scrolling_table, text_html
from baselines.report import DASH, markdown_lines, markdown_text
from baselines.results import Score, one_line
from gfn_envs.metrics import Estimate

_SCORES = {score.name: score for score in COMPARED}
_SIGNS = {"better": "▲", "worse": "▼", "": ""}
_LEGEND = (
    "▲ is surely better than the best of the others, ▼ surely worse; without a sign the interval of the difference "
    f"contains 0, or it is of fewer than {FEWEST_PROBLEMS} problems."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an agent compares with the best of the others by one score.

    Attributes:
        arena: name of the environment.
        score: name of the score.
        label: of the score, as the environment's table shows it.
        agent: who is judged.
        value: its score, over the problems and seeds for which both have one.
        rival: the best of the others.
        rival_value: that one's score.
        difference: how much better the agent is.
    """

    arena: str
    score: str
    label: str
    agent: str
    value: float
    rival: str
    rival_value: float
    difference: Estimate

    @property
    def sign(self) -> str:
        """Which side the difference surely is on, '' where its interval contains 0."""
        return _SIGNS[sure_side(self.difference)]

    @property
    def values(self) -> tuple[str, str]:
        """The agent's and the rival's score, as the reader sees them."""
        text = _SCORES[self.score].text
        return text(self.value), text(self.rival_value)

    @property
    def signed(self) -> str:
        """The agent's score with the sign, if there is one."""
        return f"{self.values[0]} {self.sign}".rstrip()

    @property
    def sentence(self) -> str:
        """Says it in words."""
        own, other = self.values
        if self.difference.value == 0 or (own == other and not self.sign):  # the reader sees no difference
            return f"{self.arena}: {self.agent} shares the best {self.label} with {self.rival}: {own}."
        best = "the best" if self.difference.value > 0 else "NOT the best"
        unsure = "the interval of the difference contains 0"
        if math.isnan(self.difference.low):
            unsure = f"fewer than {FEWEST_PROBLEMS} problems make nothing sure"
        sure = "" if self.sign else f"; {unsure}"
        return f"{self.arena}: {self.agent} is {best} by {self.label}: {own} against {other} of {self.rival}{sure}."


def sure_side(difference: Estimate) -> str:
    """Returns "better" or "worse", which are also classes of the page's cells; '' where the interval contains 0."""
    return "better" if difference.low > 0 else "worse" if difference.high < 0 else ""


def verdicts(arena: ArenaResults, focus: str) -> list[Verdict]:
    """Returns one verdict a score on the agent in focus."""
    judged = (_verdict(arena, score, focus) for score in COMPARED)
    return [verdict for verdict in judged if verdict is not None]


def leaders(arena: ArenaResults) -> list[Verdict]:
    """Returns one verdict a score on whoever is the best."""
    found = []
    for score in COMPARED:
        judged = [_verdict(arena, score, agent.name) for agent in arena.results.contestants]
        known = [verdict for verdict in judged if verdict is not None]
        if known:
            found.append(max(known, key=lambda verdict: verdict.difference.value))
    return found


def _closest_rival(arena: ArenaResults, score: Score, agent: str) -> Comparison | None:
    """Returns the comparison of an agent with the best of the others, None where that is not known."""
    rivals = [one for one in arena.comparisons if one.score == score.name and one.first == agent]
    return min(rivals, key=lambda one: one.difference.value, default=None)


def _verdict(arena: ArenaResults, score: Score, agent: str) -> Verdict | None:
    """Returns how an agent compares with the best of the others, None where that is not known."""
    rival = _closest_rival(arena, score, agent)
    if rival is None:
        return None
    label, (own, other) = arena.results.label(score), rival.values
    return Verdict(arena.name, score.name, label, agent, own, rival.second, other, rival.difference)


# -- as sentences or a table -----------------------------------------------------------------------
def verdicts_html(found: Sequence[Verdict]) -> str:
    """Returns sentences about a single environment, or a table of several."""
    if _single(found):
        return bullets([verdict.sentence for verdict in found])

    def cell(verdict: Verdict) -> str:
        rival = f"<small>{text_html(verdict.rival)} {verdict.values[1]}</small>"
        return number_cell(f"{verdict.signed}{rival}", sure_side(verdict.difference))

    heads, rows = _table(found, cell, number_cell(DASH))
    first = '<th scope="col">environment</th>'
    titles = "".join(f'<th scope="col" class="number">{text_html(head)}</th>' for head in heads)
    body = [f'<tr><th scope="row">{text_html(name)}</th>{"".join(cells)}</tr>\n' for name, cells in rows.items()]
    about = f"<p>{text_html(found[0].agent)}, below it the best of the others. {_LEGEND}</p>\n"
    return about + scrolling_table(f"{first}{titles}", body, "In short")


def verdicts_markdown(found: Sequence[Verdict]) -> str:
    """Returns the same as Markdown."""
    if _single(found):
        return "".join(f"- {markdown_text(verdict.sentence)}\n" for verdict in found)

    def cell(verdict: Verdict) -> str:
        return f"{verdict.signed} ({markdown_text(verdict.rival)} {verdict.values[1]})"

    heads, rows = _table(found, cell, DASH)
    table = markdown_lines(["environment", *heads], [[markdown_text(name), *cells] for name, cells in rows.items()])
    return f"{markdown_text(found[0].agent)}, and in brackets the best of the others. {_LEGEND}\n\n{table}"


def verdicts_text(found: Sequence[Verdict]) -> list[Table | Text]:
    """Returns the same for the terminal."""
    if _single(found):
        return [Text(one_line(verdict.sentence)) for verdict in found]

    def cell(verdict: Verdict) -> str:
        return f"{verdict.signed}\n{one_line(verdict.rival)} {verdict.values[1]}".replace(" %", "\N{NO-BREAK SPACE}%")

    heads, rows = _table(found, cell, DASH)
    table = Table(title=Text(f"{one_line(found[0].agent)}, below it the best of the others"), show_lines=True)
    table.add_column("environment")
    for head in heads:
        table.add_column(Text(head), justify="right")
    for name, cells in rows.items():
        table.add_row(Text(one_line(name)), *map(Text, cells))
    return [table, Text(_LEGEND)]


def _single(found: Sequence[Verdict]) -> bool:
    return len({verdict.arena for verdict in found}) < 2


def _table(
    found: Sequence[Verdict], cell: Callable[[Verdict], str], missing: str
) -> tuple[list[str], dict[str, list[str]]]:
    """Returns the headings, one a score, and the cells of each environment."""
    labels: dict[str, list[str]] = {}
    for verdict in found:
        labels.setdefault(verdict.score, []).append(verdict.label)
    order = [score.name for score in COMPARED if score.name in labels]
    heads = [
        labels[name][0] if len(set(labels[name])) == 1 else _SCORES[name].label.format(k="k", samples="n")
        for name in order
    ]
    cells: dict[str, dict[str, str]] = {}
    for verdict in found:
        cells.setdefault(verdict.arena, {})[verdict.score] = cell(verdict)
    return heads, {arena: [own.get(name, missing) for name in order] for arena, own in cells.items()}
