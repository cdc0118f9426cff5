"""A module that fails on import, each time."""

raise ValueError("this module cannot be imported")
