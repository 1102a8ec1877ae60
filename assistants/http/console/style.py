"""How the pages look, and what a browser may do with them."""

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark;
  --ink: #16191d; --faint: #59616c; --page: #f5f6f8; --card: #fff; --line: #dde1e7; --soft: #eef0f4;
  --accent: #2b5fd9; --on-accent: #fff; --good: #17784a; --bad: #b3261e; --wait: #b26a00; --work: #2b5fd9;
  --model: #6d4bd1; --idle: #8a93a0; --good-soft: #e3f4ea; --bad-soft: #fbe6e4; --wait-soft: #fdf0d9;
  --work-soft: #e4ecfd; --idle-soft: #e9ecf0 }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e7eaee; --faint: #9aa4b1; --page: #121417; --card: #1a1d21; --line: #31363d; --soft: #22262b;
  --accent: #7aa5ff; --on-accent: #0d1526; --good: #4cc38a; --bad: #ff7a70; --wait: #f0b04a; --work: #7aa5ff;
  --model: #a98cff; --idle: #78828f; --good-soft: #16301f; --bad-soft: #3a1b19; --wait-soft: #35270f;
  --work-soft: #18243d; --idle-soft: #262b31 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: .9375rem/1.5 system-ui, sans-serif;
  font-variant-numeric: tabular-nums }
a { color: var(--accent); text-decoration: none }
a:hover { text-decoration: underline }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: .25rem }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; padding: .75rem 1.5rem;
  background: var(--card); border-bottom: 1px solid var(--line) }
header .brand { font-weight: 650; color: var(--ink); letter-spacing: -.01em }
header .who { margin-left: auto; color: var(--faint); display: flex; gap: .75rem; align-items: center }
main { max-width: 78rem; margin: 0 auto; padding: 1.5rem }
h1 { margin: 0; font-size: 1.375rem; line-height: 1.3; letter-spacing: -.015em; overflow-wrap: anywhere }
h2 { margin: 2rem 0 .75rem; font-size: 1rem; letter-spacing: -.005em }
h2 small, h1 small { font-weight: 400; color: var(--faint) }
h3 { margin: 0; font-size: .9375rem }
p { margin: .5rem 0 }
.faint { color: var(--faint) }
code, pre, .id { font-family: ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; font-size: .8125rem }
.title { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin-bottom: 1rem }
.title .links { margin-left: auto; display: flex; gap: 1rem }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .625rem }
.pad { padding: 1rem 1.25rem }
.badge { display: inline-block; padding: 0 .5rem; border-radius: 1rem; font-size: .8125rem; font-weight: 600;
  line-height: 1.5rem; white-space: nowrap; color: var(--faint); background: var(--idle-soft) }
.badge.good { color: var(--good); background: var(--good-soft) }
.badge.bad { color: var(--bad); background: var(--bad-soft) }
.badge.wait { color: var(--wait); background: var(--wait-soft) }
.badge.work { color: var(--work); background: var(--work-soft) }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.25rem, 1fr)); gap: .625rem }
.tile { padding: .625rem .875rem; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: .625rem }
.tile:hover { border-color: var(--accent); text-decoration: none }
.tile.chosen { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent) }
.tile b { display: block; font-size: 1.375rem; line-height: 1.3; font-weight: 650 }
.tile.zero b { color: var(--faint); font-weight: 400 }
.tile span { color: var(--faint); font-size: .8125rem; white-space: nowrap }
.asked { display: grid; grid-template-columns: minmax(0, 1fr) 13rem auto; gap: .25rem 1.5rem; align-items: center;
  padding: .875rem 1.25rem; border-left: 3px solid var(--wait) }
.asked + .asked { border-top: 1px solid var(--line) }
.asked p { margin: 0; overflow-wrap: anywhere }
.asked .go { padding: .375rem .875rem; border: 1px solid var(--line); border-radius: .5rem; font-weight: 600;
  text-align: center }
.list { overflow: hidden }
progress { display: block; width: 100%; height: .375rem; margin-top: .25rem; border: 0; border-radius: 1rem;
  overflow: hidden; background: var(--idle-soft); accent-color: var(--wait) }
progress::-webkit-progress-bar { background: var(--idle-soft) }
progress::-webkit-progress-value { background: var(--wait) }
progress::-moz-progress-bar { background: var(--wait) }
.filters { display: flex; flex-wrap: wrap; gap: .625rem; align-items: end; margin-bottom: .75rem }
.filters label { display: block; font-size: .8125rem; color: var(--faint) }
.filters input { width: 12rem }
.filters input, .filters select, .filters button { height: 2.375rem }
.scroll { overflow-x: auto }
table { width: 100%; border-collapse: collapse }
th { padding: .5rem .75rem; text-align: left; font-size: .8125rem; font-weight: 500; color: var(--faint);
  white-space: nowrap; border-bottom: 1px solid var(--line) }
td { padding: .5rem .75rem; vertical-align: middle; border-top: 1px solid var(--line) }
tbody tr:first-child td { border-top: 0 }
tbody tr:hover { background: var(--soft) }
td.nowrap, th.nowrap { white-space: nowrap }
td.text { overflow-wrap: anywhere; min-width: 12rem }
th:first-child, td:first-child { padding-left: 1.25rem }
.number { text-align: right }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1.5rem; margin: 0 }
dl.wide { grid-template-columns: repeat(2, max-content minmax(0, 1fr)) }
dt { color: var(--faint) }
dd { margin: 0; overflow-wrap: anywhere }
pre { margin: .5rem 0 0; padding: .75rem 1rem; max-height: 18rem; overflow: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; background: var(--soft); border-radius: .5rem }
input, select, textarea { padding: .4375rem .625rem; color: inherit; background: var(--page); font: inherit;
  border: 1px solid var(--line); border-radius: .5rem; max-width: 100% }
textarea { width: 100%; resize: vertical }
form .field { display: block; margin-top: .75rem; font-weight: 600 }
form .field small { font-weight: 400; color: var(--faint) }
form .field input, form .field textarea { display: block; width: 100%; margin-top: .25rem; font-weight: 400 }
button { padding: .4375rem 1rem; font: inherit; font-weight: 600; color: var(--ink); background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem; cursor: pointer }
button:hover { border-color: var(--accent) }
button.main { color: var(--on-accent); background: var(--accent); border-color: var(--accent) }
button.bad { color: var(--bad) }
button.plain { padding: 0; border: 0; background: none; color: var(--accent); font-weight: 400 }
.buttons { display: flex; flex-wrap: wrap; gap: .625rem; margin-top: 1rem }
details > summary { cursor: pointer; color: var(--faint) }
.question { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem 2.5rem;
  border-left: 3px solid var(--wait); scroll-margin-top: 1rem }
.question .field:first-of-type { margin-top: 0 }
.waits { color: var(--wait); font-weight: 600 }
.question + .question { margin-top: .75rem }
.note { padding: .625rem 1rem; margin: 0 0 1rem; border-radius: .5rem; background: var(--wait-soft) }
.note.bad { background: var(--bad-soft) }
.narrow { max-width: 27rem; margin: 8vh auto 0 }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .5rem 0 0; padding: 0; list-style: none;
  font-size: .8125rem; color: var(--faint) }
.legend svg { width: .75rem; height: .75rem; margin-right: .375rem; vertical-align: -.0625rem }
.picture { min-width: 46rem; width: 100%; height: auto; display: block }
.picture text { font-size: 12px; fill: var(--ink) }
.picture .small, .picture .tick { font-size: 11px; fill: var(--faint) }
.picture .inside { font-size: 11px; font-weight: 600; fill: var(--card) }
.picture .grid { stroke: var(--line); stroke-width: 1 }
.picture .row { fill: var(--soft) }
.picture .gap { fill: var(--idle-soft); opacity: .6 }
.picture .now { stroke: var(--accent); stroke-width: 1; stroke-dasharray: 3 3 }
.good-fill { fill: var(--good) } .bad-fill { fill: var(--bad) } .work-fill { fill: var(--work) }
.model-fill { fill: var(--model) } .idle-fill { fill: var(--idle) } .person-fill { fill: var(--wait) }
.wait-fill { fill: url(#waiting) }
.stripe { stroke: var(--idle); stroke-width: 3 } .stripe-ground { fill: var(--idle-soft) }
.mark { stroke: var(--card); stroke-width: 1.5 }
@media (max-width: 44rem) {
  main { padding: 1rem }
  header { padding: .75rem 1rem }
  .asked { grid-template-columns: minmax(0, 1fr) }
  dl.wide { grid-template-columns: max-content minmax(0, 1fr) }
  .filters input, .filters label, .filters select { width: 100% }
  .filters > div { width: 100% }
  .title .links { margin-left: 0 }
}
@media (prefers-reduced-motion: no-preference) { .tile, button, .go { transition: border-color .12s } }
"""

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

HEADERS = {
    "cache-control": "no-store",
    # Not `no-referrer`, with which browsers hide from a form's receiver where the form came from.
    "referrer-policy": "same-origin",
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""What goes out with every page: it may show its own style and be sent back to where it came from, nothing else."""
