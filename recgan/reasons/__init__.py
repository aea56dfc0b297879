"""Why an item is wanted: what each item of a history pulls, and one sentence that tells it."""

from recgan.reasons.pulling import Pulls, pulls, strongest
from recgan.reasons.words import NO_HISTORY, PINNED, POPULAR, UNTOLD, Words, as_stated, reasons_of

__all__ = [
    "NO_HISTORY",
    "PINNED",
    "POPULAR",
    "UNTOLD",
    "Pulls",
    "Words",
    "as_stated",
    "pulls",
    "reasons_of",
    "strongest",
]
