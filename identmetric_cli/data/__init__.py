"""Data sets: one type, `Dataset`, and one function that makes it from a source's name."""

from identmetric_cli.data.dataset import Dataset, Split, load_dataset

__all__ = ["Dataset", "Split", "load_dataset"]
