"""`python -m bode_ops` is `bode`."""

from bode_ops.cli import main

if __name__ == "__main__":
    main()
