"""Tables of text as columns of arrays, and back. (Under construction: csv.py, codecs.py.)"""

from app.columns.ragged import Indices, Ragged, Texts

__all__ = ["Indices", "Ragged", "Texts"]
