"""Letters to a print service over HTTP, in the words of a published API for print suppliers.

docs/adapters/print.md has the contract; `bode_adapters.print_rest.mock` is a server that keeps it strictly.
"""

from bode_adapters.print_rest.adapter import PrintRest

__all__ = ["PrintRest"]
