"""Runs `make run`'s program for a root folder that is given, so that a bench disturbs no system that runs already."""

import os
import sys
from pathlib import Path

import uvloop

from runner.__main__ import run
from runner.layout import Layout

if __name__ == "__main__":
    sys.exit(uvloop.run(run(Layout(Path(sys.argv[1])), os.environ)))
