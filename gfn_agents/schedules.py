"""Schedules: a number that moves with the step, such as epsilon or temperature.

Plain data in a module without torch, so that options and command lines can hold one. A schedule that
claims to move and cannot is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

ScheduleKind = Literal["constant", "linear", "cosine", "exponential"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A value that goes from `start` at step 0 to `end` at step `steps`, and stays there.

    With p = step / steps:

        linear       start + p (end - start)
        cosine       end + (start - end) (1 + cos(pi p)) / 2
        exponential  start (end / start)^p

    `dataclasses.asdict` gives its JSON values and `Schedule(**values)` reads them.

    Args:
        start: value at step 0.
        end: value from step `steps` on; None is the same as `start`.
        steps: steps until the end is reached.
        kind: the way between; "constant" has none.
    """

    start: float
    end: float | None = None
    steps: int = 1
    kind: ScheduleKind = "constant"

    def __post_init__(self) -> None:
        end = self.start if self.end is None else self.end
        if self.kind not in get_args(ScheduleKind):
            raise ValueError(
                f"kind of a schedule must be one of {', '.join(get_args(ScheduleKind))}, got {self.kind!r}"
            )
        if not (math.isfinite(self.start) and math.isfinite(end)):
            raise ValueError(f"start and end of a schedule must be finite, got {self.start} and {end}")
        if self.steps < 1:
            raise ValueError(f"steps of a schedule must be at least 1, got {self.steps}")
        if self.kind == "constant" and end != self.start:
            raise ValueError(f"a constant schedule stays at {self.start} and never reaches {end}; choose another kind")
        if self.kind == "exponential" and not (self.start > 0 and end > 0):
            raise ValueError(f"an exponential schedule needs start and end above 0, got {self.start} and {end}")

    def at(self, step: int) -> float:
        """Returns the value at a step, exactly `start` at step 0 and exactly `end` from `steps` on."""
        end = self.start if self.end is None else self.end
        if step <= 0 or end == self.start:
            return self.start
        if step >= self.steps:
            return end
        progress = step / self.steps
        if self.kind == "exponential":
            value = math.exp((1.0 - progress) * math.log(self.start) + progress * math.log(end))
        elif self.kind == "cosine":
            value = end + (self.start - end) * (1.0 + math.cos(math.pi * progress)) / 2.0
        else:
            value = self.start + progress * (end - self.start)
        # Rounding must not lead out of the range, where epsilon would not be a probability.
        return min(max(value, min(self.start, end)), max(self.start, end))
