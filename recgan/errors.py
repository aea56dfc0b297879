"""One tree of errors: every message says what was found, where, and what to do.

::

    RecganError
    ├── ConfigError        a setting or an argument (also a ValueError)
    ├── DataError          a table or its content (also a ValueError)
    ├── UnknownUserError   a user that the model has never seen (also a LookupError)
    ├── UnknownItemError   an item that is not in the catalogue (also a LookupError)
    ├── ArtifactError      a model folder that is damaged, foreign or unsafe
    └── TrainingError      a training run that cannot go on
"""


class RecganError(Exception):
    """Anything that recgan refuses."""


class ConfigError(RecganError, ValueError):
    """A setting or an argument is out of range or unknown."""


class DataError(RecganError, ValueError):
    """A table cannot be used as it is."""


class UnknownUserError(RecganError, LookupError):
    """A user is not known to the model."""


class UnknownItemError(RecganError, LookupError):
    """An item is not in the catalogue."""


class ArtifactError(RecganError):
    """A model folder is damaged, foreign or unsafe to read."""


class TrainingError(RecganError):
    """A training run cannot go on, for example because a loss is not a number."""
