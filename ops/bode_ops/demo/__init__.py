"""The demonstration: the whole job on one machine, with a clock that runs faster than life and mock outside systems."""
