"""The search for the items nearest to a wanted vector. No other package imports faiss."""

from recgan.index.exact import ItemIndex
from recgan.index.making import KINDS, Kind, index_bytes
from recgan.index.near import NearIndex
from recgan.index.refilling import Place

__all__ = ["KINDS", "ItemIndex", "Kind", "NearIndex", "Place", "index_bytes"]
