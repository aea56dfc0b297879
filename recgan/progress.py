"""One progress display for everything that takes longer than a moment: on stderr, silent without a terminal."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress


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

    def steps(self, name: str, total: int) -> Callable[[int], None]:
        """A bar over many equal steps: call it with how many more are done."""
        task = self._bar.add_task(name, total=total, note="")
        return lambda more: self._bar.advance(task, more)
