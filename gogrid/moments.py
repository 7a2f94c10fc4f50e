"""Moments in words, on this machine's clock. Nothing raises: what no calendar holds is said to be out of reach."""

import math
from datetime import datetime, tzinfo

_OUT_OF_REACH = "a day that no calendar here has"


def shown_moment(unix_s: float, form: str, zone: tzinfo | None = None) -> str:
    """
    Args:
        unix_s: seconds since 1970, any number.
        form: as of `strftime`.
        zone: None: this machine's.
    """
    if not math.isfinite(unix_s):
        return _OUT_OF_REACH
    try:
        return datetime.fromtimestamp(unix_s, zone).strftime(form)
    except (OSError, OverflowError, ValueError):
        return _OUT_OF_REACH
