"""Reusable Keras 3 layers and losses for multi-label text classification."""

from importlib.metadata import version

__version__ = version("keras-mlc")
