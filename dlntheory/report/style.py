"""The style of the report: light and dark, narrow screens, print; a filter without scripts."""

from __future__ import annotations

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

RULES = """
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 2rem auto 4rem; padding: 0 1rem; max-width: 64rem; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 2.5rem 0 0; font-size: 1.3rem; line-height: 1.3; }
h3 { margin: 0; font-size: 1.05rem; line-height: 1.4; } p { margin: .4rem 0; }
a { color: var(--accent); } code, pre { font-family: ui-monospace, monospace; font-size: .85em; }
pre { overflow-x: auto; padding: .8rem; background: var(--shade); border-radius: .3rem; line-height: 1.4; }
.dim { color: var(--dim); } .small { font-size: .875rem; }
.banner { padding: .6rem 1rem; border-left: .35rem solid var(--vacuous); background: var(--card); }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; padding: 0; list-style: none; }
.tiles li { padding: .4rem 1rem; background: var(--card); border-top: .2rem solid var(--line); border-radius: .3rem; }
.tiles b { display: block; font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.contents { width: 100%; } .contents td + td, .contents th + th { text-align: right; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
.runs { width: 100%; table-layout: fixed; margin: .6rem 0; font-size: .9rem; }
.runs tr > :first-child { width: 6.5rem; color: var(--dim); font-weight: normal; }
.runs td { overflow-wrap: anywhere; }
.claim { margin: 1rem 0; padding: .8rem 1rem; background: var(--card); border-radius: .4rem;
  border-left: .35rem solid var(--line); }
.claim > header { display: flex; gap: 1rem; justify-content: space-between; }
.claim h3 a { text-decoration: none; opacity: .45; } .claim h3 a:hover { opacity: 1; }
.verdict { font-weight: 600; white-space: nowrap; }
.passed { --tone: var(--passed); } .failed { --tone: var(--failed); }
.vacuous { --tone: var(--vacuous); } .skipped { --tone: var(--skipped); }
.claim, .tiles li { border-color: var(--tone, var(--line)); } .verdict { color: var(--tone); }
.statement { margin: .5rem 0; line-height: 1.7; } math { font-size: 1.08em; }
math[display="block"] { overflow-x: auto; overflow-y: hidden; }
details > summary { cursor: pointer; color: var(--dim); font-size: .875rem; }
.paper > details > summary { margin: 1rem 0; font-size: 1rem; }
figure { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; margin: .8rem 0 .4rem; }
.panel { flex: 1 1 18rem; max-width: 30rem; min-width: 0; } .panel p { margin: 0; font-size: .85rem; }
.panel-title { font-weight: 600; } .panel .axis { color: var(--dim); } .panel .below { text-align: right; }
.panel svg { display: block; width: 100%; height: auto; }
.panel svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { flex: 1 1 100%; font-size: .85rem; color: var(--dim); } figcaption p { margin: .2rem 0; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; margin: 0; padding: 0; list-style: none;
  color: var(--ink); }
.legend svg { width: 28px; height: 8px; margin-right: .4rem; vertical-align: middle; }
dl { display: grid; grid-template-columns: max-content auto; gap: 0 1.5rem; } dt { color: var(--dim); }
dd { margin: 0; }
.choice { position: absolute; opacity: 0; }
.filter { display: flex; flex-wrap: wrap; gap: .4rem; margin: 1.5rem 0 0; }
.filter label { padding: .2rem .8rem; border: 1px solid var(--line); border-radius: 1rem; cursor: pointer; }
#show-all:checked ~ .filter [for="show-all"], #show-trouble:checked ~ .filter [for="show-trouble"],
#show-figures:checked ~ .filter [for="show-figures"] { background: var(--accent); color: var(--page); }
#show-all:focus-visible ~ .filter [for="show-all"], #show-trouble:focus-visible ~ .filter [for="show-trouble"],
#show-figures:focus-visible ~ .filter [for="show-figures"] { outline: 2px solid var(--ink); outline-offset: 2px; }
.nothing { display: none; }
#show-trouble:checked ~ main .paper:not(.with-trouble), #show-trouble:checked ~ main .claim:not(.failed, .vacuous),
#show-trouble:checked ~ main .paper > details, #show-figures:checked ~ main .paper:not(.with-figures),
#show-figures:checked ~ main .claim:not(.with-figure), #show-figures:checked ~ main .paper > details
{ display: none; }
#show-trouble:checked ~ main .nothing { display: block; }
@media (max-width: 40rem) {
  body { margin-top: 1rem; padding: 0 .6rem; } .claim { padding: .6rem .7rem; }
  .runs { font-size: .85rem; } .runs tr > :first-child { width: 5.7rem; } th, td { padding-right: .5rem; }
  .contents { font-size: .875rem; } .statement { overflow-x: auto; overflow-y: hidden; }
}
@media print {
  html { font-size: 10pt; } pre { white-space: pre-wrap; } body { margin: 0; max-width: none; font-size: 1rem; }
  .filter, .choice, .claim h3 a { display: none; }
  .claim, figure, tr { break-inside: avoid; } h2 { break-after: avoid; } details:not([open]) { display: none; }
  .claim { border-top: 1px solid var(--line); } .panel { flex-basis: 14rem; }
}
"""


def style_sheet() -> str:
    """Everything between `<style>` and `</style>`, the font for formulas included."""
    from ..plotting.style import ROLES, SERIES

    roles = "".join(f" --role-{name}: {look['color']};" for name, look in ROLES.items())
    series = "".join(f" --series-{number}: {SERIES[number % len(SERIES)]};" for number in range(MAX_SERIES))
    return (
        f"{font_face()}:root {{ color-scheme: light dark; {LIGHT}{roles}{series} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}{RULES}"
    )
