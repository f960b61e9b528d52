"""`python -m testkit.serve <package>`: what `chassis serve` does, with testkit's failpoints and clock."""

import os
import sys

from testkit.clock import install_clock
from testkit.failpoints import install_failpoints


def main(arguments: list[str]) -> int:
    """Arm what the environment asks for, serve, and return the exit code."""
    install_clock(os.environ)
    install_failpoints(os.environ)
    # Only now: the product's modules take hold of the clock when they are imported.
    from chassis.__main__ import main as chassis_main

    return chassis_main(["serve", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
