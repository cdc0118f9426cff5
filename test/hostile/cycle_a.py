"""Imports cycle_b, which imports this."""

import cycle_b

VALUE = cycle_b.VALUE + 1


def value() -> int:
    return VALUE
