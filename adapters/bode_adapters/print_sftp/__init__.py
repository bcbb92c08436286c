"""Letters to a print service over SFTP: a batch is a directory whose manifest comes last.

`bode_adapters.print_sftp.mock` is a server for it; what it takes in, `bode_adapters.print_folder.mock` prints.
"""

from bode_adapters.print_sftp.adapter import PrintSftp

__all__ = ["PrintSftp"]
