"""`make faults`: the fault matrix of the product, on a private Postgres and broker; one line for each promise.

SCALE=0.1 (1 runs the full bars), SEED=<number> repeats a schedule, ONLY=F1,F5 chooses rows.
"""

import asyncio
import logging
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.money import stop_products
from faults.rig import Rig
from faults.rows import ROWS, tried
from faults.verdict import Size, Verdict, show
from testkit.embedded.session import TemporaryServers

ROOT = Path(__file__).resolve().parents[2]


async def main() -> int:
    """Run the chosen rows; returns 1 when any promise was broken."""
    # They tell of each connection that a row breaks, and of each answer that a fake keeps to itself, on purpose.
    for library in ("aiormq", "aio_pika", "uvicorn.error"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
    scale = float(os.environ.get("SCALE") or 0.1)
    only = os.environ.get("ONLY") or ""
    chosen = [row for row in only.upper().split(",") if row] or list(ROWS)
    if unknown := [row for row in chosen if row not in ROWS]:
        print(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
        return 2
    size = Size(scale=scale, seed=seed)
    again = f"SEED={seed} SCALE={scale:g}" + (f" ONLY={only}" if only else "")
    print(f"seed {seed}, scale {scale:g}: repeat this schedule with  {again} make faults", flush=True)
    servers = TemporaryServers(ROOT)
    rig = Rig(servers.directory / "faults")
    verdicts: list[Verdict] = []
    began = time.monotonic()
    try:
        print("starting Postgres, broker, mailer and gateway ...", flush=True)
        await rig.start()
        for row in chosen:
            print(f"{row} ...", end=" ", flush=True)
            verdicts.append(await tried(row, rig, size))
            print(f"{'ok' if verdicts[-1].passed else 'FAIL'} ({verdicts[-1].took_s:.0f} s)", flush=True)
    finally:
        show(verdicts)
        kept = keep_logs(rig, ROOT / "var" / "faults") if any(not one.passed for one in verdicts) else None
        await stop_products()
        await rig.stop()
        servers.close()
    print(f"took {time.monotonic() - began:.0f} s; seed {seed}" + (f"; logs in {kept}" if kept else ""))
    return 1 if any(not one.passed for one in verdicts) else 0


def keep_logs(rig: Rig, place: Path) -> Path:
    """Copy the services' logs out of the rig before it is deleted; returns where they are."""
    place.mkdir(parents=True, exist_ok=True)
    for log in rig.directory.glob("*.log"):
        (place / log.name).write_bytes(log.read_bytes())
    return place


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
