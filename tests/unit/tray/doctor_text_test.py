"""`doctor`'s findings as a person reads them."""

from tray.commands.doctor import Check, findings_text


def test_findings_stand_in_columns() -> None:
    checks = (Check("disk", True, "much"), Check("UDP (QUIC)", False, "no answer"))
    assert findings_text(checks) == "ok     disk        much\nWRONG  UDP (QUIC)  no answer"
