"""What happens when a command cannot go on: one message on stderr, an exit code, no traceback for what is expected."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import typer
from typer.core import TyperGroup

from recgan.errors import RecganError

FAILED, INTERRUPTED = 1, 130


class Guarded(TyperGroup):
    """A group of commands whose errors become messages."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                result = super().invoke(ctx)
                sys.stdout.flush()
            except BrokenPipeError:
                _forget_stdout()
                raise typer.Exit(0) from None
            except (RecganError, OSError) as error:
                _say(f"error: {error}")
                raise typer.Exit(FAILED) from error
            except KeyboardInterrupt:
                _interrupted()
            except SystemExit as error:
                if isinstance(error.__context__, KeyboardInterrupt):  # PyTorch Lightning turns Ctrl-C into exit(1)
                    _interrupted()
                raise
            return result


def _interrupted() -> None:
    _say("interrupted")
    raise typer.Exit(INTERRUPTED) from None


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    _say(f"warning: {message}")


def _forget_stdout() -> None:
    """The reader of stdout has gone: let what is still buffered, and the interpreter's last flush, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
