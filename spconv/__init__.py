"""Spatially-sparse convolutional networks without a deep-learning framework."""

from spconv._version import __version__
