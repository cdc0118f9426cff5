"""A module that ends the program on import."""

import sys

sys.exit(9)
