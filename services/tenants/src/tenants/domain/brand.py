"""Whose mail it looks like: a name and a colour, the tenant's or the platform's own."""

import re
from collections.abc import Mapping
from typing import Final

from tenants.domain.companies import Tenant

PLATFORM_NAME: Final = "Backoffice"
PLATFORM_COLOR: Final = "#D62598"  # seed 004's own default
_COLOR: Final = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")  # it goes into a style: nothing else may


def brand_of(tenant: Tenant | None) -> Mapping[str, str]:
    """The variables `brand_name` and `brand_color` of every account mail."""
    color = "" if tenant is None else tenant.branding.get("brand_color", "")
    return {
        "brand_name": PLATFORM_NAME if tenant is None else tenant.name,
        "brand_color": color if _COLOR.fullmatch(color) else PLATFORM_COLOR,
    }
