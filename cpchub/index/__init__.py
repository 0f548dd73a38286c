"""Search a collection: exactly while that is cheap, with compressed vectors and measured recall beyond.

setting.py     what the manifest says about search, with its checksum
kinds.py       which FAISS index fits, and how it is made
mapped.py      vectors and items as mapped files
exact.py       exact search by matrix product
truth.py       held-out queries with their exact neighbours
engine.py      candidates from FAISS, put in order by the vectors
calibrate.py   the search setting that keeps the promised recall
build.py       build, update, verify
query.py, where.py, index.py   what users ask
"""

from cpchub.index.index import Hit, Index
from cpchub.index.query import Item

__all__ = ["Hit", "Index", "Item"]
