"""The rows of the fault matrix that are tried, in the order they are run, and the running of one."""

import time
import traceback
from collections.abc import Awaitable, Callable

from faults import (
    f01_kill,
    f01_money,
    f02_windows,
    f05_broker_restart,
    f06_broker_wiped,
    f07_partition,
    f09_postgres_restart,
    f10_resets,
    f12_cancelled,
    f13_duplicates,
    f14_orders_of_events,
    f15_poison,
    f16_crash_poison,
    f17_smtp,
    f18_provider,
    f23_double_submit,
    f24_one_webhook,
    f25_webhook_without_database,
    f26_upstream,
    f27_rolling,
    f29_start_order,
)
from faults.rig import Rig
from faults.verdict import Size, Verdict

Row = Callable[[Rig, Size], Awaitable[Verdict]]

RIG_ROWS: dict[str, Row] = {
    "F1": f01_kill.run,
    "F2": f02_windows.run,
    "F5": f05_broker_restart.run,
    "F6": f06_broker_wiped.run,
    "F7": f07_partition.run,
    "F9": f09_postgres_restart.run,
    "F10": f10_resets.run,
    "F12": f12_cancelled.run,
    "F13": f13_duplicates.run,
    "F15": f15_poison.run,
    "F16": f16_crash_poison.run,
    "F17": f17_smtp.run,
    "F26": f26_upstream.run,
    "F27": f27_rolling.run,
    "F29": f29_start_order.run,
}
#: These start the whole product beside the rig.
PRODUCT_ROWS: dict[str, Row] = {
    "F14": f14_orders_of_events.run,
    "F18": f18_provider.run,
    "F23": f23_double_submit.run,
    "F24": f24_one_webhook.run,
    "F25": f25_webhook_without_database.run,
    "F1M": f01_money.run,
}
ROWS: dict[str, Row] = RIG_ROWS | PRODUCT_ROWS


async def tried(row: str, rig: Rig, size: Size) -> Verdict:
    """The row's verdict; a trial that breaks off is a failed one."""
    began = time.monotonic()
    try:
        await rig.calm()
        verdict = await ROWS[row](rig, size)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        verdict = Verdict(row, "(the trial broke off)", "")
        verdict.broken.append(f"{type(error).__name__} at {place.name}:{place.lineno}: {str(error)[:2000]}")
    verdict.took_s = time.monotonic() - began
    return verdict
