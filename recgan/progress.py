"""One progress display for everything that takes longer than a moment: on stderr, silent without a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

SECONDS_A_LINE = 10.0
"""Without a terminal, the least time between two lines."""


class Progress:
    """Stages and epochs of a long call.

    Args:
        enabled: whether anything may be shown.

    Example:
        >>> with Progress(enabled=False) as progress:
        ...     progress.stage("reading")
    """

    def __init__(self, enabled: bool = True) -> None:
        console = Console(stderr=True)
        self._enabled = enabled
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not (enabled and console.is_terminal),
        )

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # rich before 15 ends the line also of a bar that was never shown
            self._bar.stop()

    def stage(self, name: str) -> None:
        """Show that a stage without steps has begun."""
        self._bar.add_task(name, total=1, completed=1, note="")

    def epochs(self, name: str, total: int) -> Callable[[int, float | None], None]:
        """A bar over epochs: call it with the number done and the metric reached, None where there is none."""
        task = self._bar.add_task(name, total=total, note="")

        def done(epoch: int, metric: float | None) -> None:
            self._bar.update(task, completed=epoch, note="" if metric is None else f"metric {metric:.4f}")

        return done

    def steps(self, name: str, total: int, done: int = 0) -> Callable[[int], None]:
        """A bar over many equal steps, some done already: call it with how many more are done.

        Without a terminal a line on stderr tells now and then how far it is.
        """
        task = self._bar.add_task(name, total=total, completed=done, note="")
        pace = Pace(total, done)

        def tick(more: int) -> None:
            note = pace.after(more)
            self._bar.update(task, advance=more, note=note)
            if self._enabled and not self._bar.console.is_terminal and pace.due():
                print(f"{name}: {pace.done:,} of {total:,}, {note}", file=sys.stderr, flush=True)

        return tick


class Pace:
    """How fast steps are done, and how long the others will take.

    Args:
        total: how many steps there are.
        done: how many were done before.
        clock: seconds.
    """

    def __init__(self, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.done = done
        self._total, self._before, self._clock = total, done, clock
        self._start = self._told = clock()

    def after(self, more: int) -> str:
        """Rate and remaining time once more steps are done, in words."""
        self.done += more
        rate = (self.done - self._before) / max(self._clock() - self._start, 1e-9)
        left = timedelta(seconds=round((self._total - self.done) / rate)) if rate else "unknown"
        return f"{rate:,.0f}/s, {left} left"

    def due(self) -> bool:
        """Whether the last line is long enough ago for another."""
        now = self._clock()
        if now - self._told < SECONDS_A_LINE:
            return False
        self._told = now
        return True
