"""Neighbours of descriptors: one interface, an exact reference, FAISS behind it, and durability."""

from indexers.index.base import Hits, VectorIndex

__all__ = ["Hits", "VectorIndex"]
