"""Serves the mailer with one job's worth of segmentation fault: reading a job that holds the word ends the process."""

import importlib
import os
import sys
from typing import Any

DEADLY = "deadly-nightshade"
EXIT_CODE = 77


def main(arguments: list[str]) -> int:
    """Poison the job decoder, then serve as a test build does."""
    jobs = importlib.import_module("mailer.domain.jobs")
    decode_job = jobs.decode_job

    def poisoned(body: bytes) -> Any:
        if DEADLY.encode() in body:
            os._exit(EXIT_CODE)
        return decode_job(body)

    # Before anything else imports it by name.
    jobs.decode_job = poisoned  # type: ignore[attr-defined]
    from testkit.serve import main as serve

    return serve(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
