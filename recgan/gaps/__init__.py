"""What users want against what is on offer: draws over the noise, their nearest items, and kinds that are missing."""

from recgan.gaps.holes import Gap, Settings, find_gaps
from recgan.gaps.table import gap_table, named
from recgan.gaps.wanted import Survey, survey

__all__ = ["Gap", "Settings", "Survey", "find_gaps", "gap_table", "named", "survey"]
