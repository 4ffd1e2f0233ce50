"""The command line that all benchmarks share."""

import argparse


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the option `--small`, described by the benchmark's docstring."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--small", action="store_true", help="show only that it runs; what it prints is no result"
    )
    return made
