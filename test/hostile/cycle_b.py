"""Imports cycle_a, of which there is nothing yet."""

import cycle_a

VALUE = 1 if not hasattr(cycle_a, "VALUE") else 2
NAMES = cycle_a.VALUE if hasattr(cycle_a, "VALUE") else None
