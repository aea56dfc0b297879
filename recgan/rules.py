"""Rules of a list beyond relevance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recgan.errors import ConfigError


class Rules(BaseModel):
    """What a list must observe besides relevance.

    Args:
        calibration: how much the mix of categories follows the user's own: 0 not at all, 1 whatever it costs (Steck,
            RecSys 2018). It does nothing for items without categories and for users without a history.

    Example:
        >>> Rules(calibration=0.5)
        Rules(calibration=0.5)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    calibration: float = Field(0.0, ge=0.0, le=1.0)

    @classmethod
    def of(cls, rules: Rules | Mapping[str, Any] | None) -> Rules:
        """The rules that are given as such, as a mapping, or not at all.

        Raises:
            ConfigError: for an unknown rule or a bad value.
        """
        if isinstance(rules, Rules):
            return rules
        if rules is not None and not isinstance(rules, Mapping):
            raise ConfigError(f"rules: recgan.Rules, a dictionary or None, not {type(rules).__name__}")
        try:
            return cls.model_validate(dict(rules or {}))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise ConfigError(f"rules: {name}: {first['msg']}; there is {', '.join(cls.model_fields)}") from None
