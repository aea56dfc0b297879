"""The command line: `recgan --help`. What a command needs is imported when it runs, so that the help is quick."""

from recgan.cli.app import app, main

__all__ = ["app", "main"]
