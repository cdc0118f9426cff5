"""A cycle that cannot work."""

from cycle_broken import missing  # noqa: F401
