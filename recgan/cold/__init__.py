"""Items without interactions: from their content to all that the model keeps of an item."""

from recgan.cold.arrays import item_arrays, with_items
from recgan.cold.choosing import Chooser
from recgan.cold.keeping import load_tower, tower_arrays, tower_facts
from recgan.cold.sparse import grown, shrunk
from recgan.cold.tower import Settings, Tower

__all__ = [
    "Chooser",
    "Settings",
    "Tower",
    "grown",
    "item_arrays",
    "load_tower",
    "shrunk",
    "tower_arrays",
    "tower_facts",
    "with_items",
]
