"""Runs the command line for `python -m sltoolkit`."""

from sltoolkit.cli.app import main

if __name__ == "__main__":
    main()
