"""An error on its way from a worker to the driver."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from recgan.errors import RecganError


@dataclass(frozen=True)
class Failure:
    """What a worker could not go on after.

    Args:
        kind: class of the error.
        args: with which it can be made again.
        text: its traceback.
    """

    kind: type[BaseException]
    args: tuple[Any, ...]
    text: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """An error, ready to travel."""
        args = error.args
        if isinstance(error, OSError) and error.filename is not None:
            args = (error.errno, error.strerror, str(error.filename))
        return cls(type(error), args, "".join(traceback.format_exception(error)))

    def summary(self) -> str:
        """The last line of the traceback."""
        return f"a worker failed: {self.text.strip().splitlines()[-1]}"

    def error(self) -> BaseException:
        """The error again, of the same class, with the worker's traceback as a note."""
        try:
            error = self.kind(*self.args)
        except Exception:
            error = RecganError(self.summary())
        error.add_note(f"in a worker:\n{self.text}")
        return error
