"""The style of the report: light and dark, narrow screens, print; a filter without scripts."""

from __future__ import annotations

from importlib import resources

from ..claims.curves import MAX_SERIES
from ..display.typesetting import font_face

LIGHT = """--ink: #1d2330; --dim: #566072; --page: #ffffff; --card: #f6f7f9; --line: #d9dde5; --shade: #eceff3;
  --accent: #1f5fa8; --passed: #1a7f37; --failed: #c62828; --vacuous: #9a5b00; --skipped: #6b7280;"""
#: The roles of figures/style.py that are too dark for a dark page have lighter colours of the same hue there.
DARK = """--ink: #e6e9ef; --dim: #a0aaba; --page: #14171c; --card: #1d2229; --line: #363e4a; --shade: #262c35;
  --accent: #86b7f0; --passed: #4cc36b; --failed: #ff7b72; --vacuous: #e3a13b; --skipped: #8b94a3;
  --role-full: #82cdfb; --role-measured: #82cdfb; --role-reduced: #ff8f45; --role-predicted: #ffffff;
  --role-guide: #ffffff; --role-error: #c9ced8; --role-control: #e59ac4; --role-background: #9a9a9a;
  --series-0: #2fcf9f; --series-4: #59b4ec; --series-5: #ff8f45;"""


def style_sheet() -> str:
    """Everything between `<style>` and `</style>`, the font for formulas included."""
    from ..plotting.style import ROLES, SERIES

    roles = "".join(f" --role-{name}: {look['color']};" for name, look in ROLES.items())
    series = "".join(f" --series-{number}: {SERIES[number % len(SERIES)]};" for number in range(MAX_SERIES))
    rules = resources.files("dlntheory.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    return (
        f"{font_face()}:root {{ color-scheme: light dark; {LIGHT}{roles}{series} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}\n{rules}"
    )
