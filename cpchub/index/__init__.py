"""Search a collection, and use its neighbours: duplicates, outliers, a map.

Small collections are searched exactly. Large ones use a compressed index, whose recall is measured.
"""

from cpchub.index.index import Hit, Index
from cpchub.index.query import Item

__all__ = ["Hit", "Index", "Item"]
