"""`make bench`: one table of what the product does beside its peers and its limits, measured in turns in one run.

ONLY=gateway,mail,queue,money,sign-in,memory chooses parts; ROUNDS (3) and SECONDS (5) set the length; STRICT=1 makes
a missed target an error.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import gateway_speed, mail_queue, mail_stage, memory, money, peers, sign_in
from benchmarks.report import Section


def main() -> int:
    """Run the chosen parts; returns the exit status."""
    rounds = int(os.environ.get("ROUNDS", "3"))
    seconds = float(os.environ.get("SECONDS", "5"))
    parts: dict[str, Callable[[Path], Section]] = {
        "gateway": lambda directory: gateway_speed.measure(directory, rounds=rounds, seconds=seconds),
        "mail": lambda directory: mail_stage.measure(directory, rounds=rounds, seconds=seconds),
        "queue": lambda directory: mail_queue.measure(directory, rounds=rounds, seconds=seconds),
        "money": lambda directory: money.measure(directory, rounds=rounds, seconds=seconds),
        "sign-in": lambda directory: sign_in.measure(directory, rounds=rounds, seconds=seconds),
        "memory": memory.measure,
    }
    chosen = os.environ.get("ONLY", ",".join(parts)).split(",")
    if unknown := set(chosen) - set(parts):
        print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
        return 2
    began = time.monotonic()
    sections: list[Section] = []
    failures = 0
    for name in chosen:
        print(f"measuring: {name} ...", flush=True)
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as directory:
            try:
                sections.append(parts[name](Path(directory)))
            except (peers.PeerMissing, RuntimeError, OSError) as error:
                failures += 1
                sections.append(Section(f"{name}: NOT MEASURED", notes=(str(error),)))
    print(f"\n{'=' * 100}\n{os.cpu_count()} cores, {rounds} interleaved rounds, medians [min-max]", end="")
    for section in sections:
        section.show()
    missed = [section.title for section in sections if not section.reached]
    print(f"took {time.monotonic() - began:,.0f} s; targets missed: {len(missed)}; parts not measured: {failures}")
    return 1 if failures or (missed and os.environ.get("STRICT")) else 0


if __name__ == "__main__":
    sys.exit(main())
