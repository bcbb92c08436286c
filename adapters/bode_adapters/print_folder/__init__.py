"""Letters through a hot folder: a directory that a print service watches.

`bode_adapters.print_folder.mock` has a print service that watches one.
"""

from bode_adapters.print_folder.adapter import PrintFolder

__all__ = ["PrintFolder"]
