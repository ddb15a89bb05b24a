"""How the page of the address space looks."""

from __future__ import annotations

# Ten hues that stay apart next to each other, light ones on dark pages. The load goes from pale to
# dark (viridis reversed), so that it is read without telling hues apart.
_HUES = (
    ("#0b6bb8", "#6cb6ff"),
    ("#c2570c", "#ff9e4f"),
    ("#0c8062", "#3ecfa5"),
    ("#b02a72", "#f58ac0"),
    ("#6a4bc4", "#b39dff"),
    ("#8a6a00", "#e6c445"),
    ("#1f7a8c", "#58cfe3"),
    ("#b3352b", "#ff8f85"),
    ("#4d7c0f", "#a3d65c"),
    ("#5a6472", "#b8c2d0"),
)
_LOADS = (
    ("#b9c0c9", "#59616b"),
    ("#8fd744", "#35608d"),
    ("#35b779", "#21908d"),
    ("#21908d", "#35b779"),
    ("#35608d", "#8fd744"),
    ("#440154", "#fde725"),
)


def _variables(shade: int) -> str:
    hues = "".join(f"--s{number}: {pair[shade]}; " for number, pair in enumerate(_HUES))
    return hues + "".join(f"--l{step}: {pair[shade]}; " for step, pair in enumerate(_LOADS))


_LIGHT = f"""color-scheme: light; --page: #f6f7f9; --panel: #ffffff; --ink: #14181f;
  --faint: #5b6572; --rule: #d9dee5; --spare: #e9edf2; --grid: #ffffff; --edge: #14181f;
  --halo: #ffffff; --hatch: #a9b1bc; --accent: #d6006c; {_variables(0)}"""
_DARK = f"""color-scheme: dark; --page: #0e1116; --panel: #161b22; --ink: #e8edf3;
  --faint: #98a3b1; --rule: #2a313b; --spare: #1c222b; --grid: #0e1116; --edge: #e8edf3;
  --halo: #0e1116; --hatch: #4a5361; --accent: #ff5cae; {_variables(1)}"""

_COLOURED = "".join(f".s{number} {{ --c: var(--s{number}); }}\n" for number in range(len(_HUES)))
_LOADED = "".join(
    f".loads .l{step}, .by-load .l{step} {{ --c: var(--l{step}); }}\n"
    for step in range(len(_LOADS))
)

STYLE = f"""
:root {{ {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
:root.light {{ {_LIGHT} }}
:root.dark {{ {_DARK} }}
* {{ box-sizing: border-box; }}
[hidden] {{ display: none !important; }}
body {{ margin: 0; height: 100vh; overflow: hidden; background: var(--page); color: var(--ink);
  font: 14px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; display: grid;
  grid-template: auto 1fr / 1fr 19rem; grid-template-areas: "head head" "main side"; }}
header {{ grid-area: head; display: flex; flex-wrap: wrap; align-items: center; gap: .3rem 1.2rem;
  padding: .6rem 1rem; background: var(--panel); border-bottom: 1px solid var(--rule); }}
h1 {{ font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }}
header p {{ margin: 0; color: var(--faint); font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }}
.tools {{ display: flex; gap: .4rem; margin-left: auto; }}
button, input {{ font: inherit; color: inherit; background: var(--page);
  border: 1px solid var(--rule); border-radius: 6px; padding: .25rem .6rem; }}
button {{ cursor: pointer; }}
button:hover {{ border-color: var(--faint); }}
button[aria-pressed=true], [role=tab][aria-selected=true] {{ background: var(--ink);
  color: var(--panel); border-color: var(--ink); }}
:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 1px; }}
.search {{ position: relative; }}
#search {{ width: 15rem; }}
#results {{ position: absolute; z-index: 2; right: 0; left: 0; margin: .2rem 0 0; padding: .2rem;
  list-style: none; background: var(--panel); border: 1px solid var(--rule); border-radius: 6px;
  box-shadow: 0 6px 24px #0004; max-height: 60vh; overflow: auto; }}
#results button {{ width: 100%; text-align: left; border: 0; background: none; display: block;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }}
#results button:hover, #results button.first {{ background: var(--page); }}
#results small {{ color: var(--faint); margin-left: .4rem; }}
main {{ grid-area: main; display: flex; flex-direction: column; min-width: 0; min-height: 0; }}
nav {{ display: flex; gap: .4rem; padding: .5rem 1rem 0; overflow-x: auto; flex: none; }}
nav button {{ white-space: nowrap; }}
nav small {{ opacity: .7; }}
.stage {{ flex: 1; min-height: 0; padding: 1rem; }}
.range {{ height: 100%; display: flex; flex-direction: column; }}
.range > svg {{ flex: 1; min-height: 0; width: 100%; touch-action: none; cursor: grab; }}
.range > svg.dragging {{ cursor: grabbing; }}
.note, .hint {{ color: var(--faint); }}
aside {{ grid-area: side; padding: .8rem 1rem; overflow: auto; background: var(--panel);
  border-left: 1px solid var(--rule); }}
h2 {{ font-size: .8rem; margin: 1.1rem 0 .35rem; color: var(--faint); font-weight: 600; }}
aside h2:first-child {{ margin-top: 0; }}
#story {{ margin: 0; min-height: 7.5em; white-space: pre-line; overflow-wrap: anywhere; }}
#story::first-line {{ font-weight: 600; }}
.legend {{ list-style: none; margin: 0; padding: 0; }}
.legend li {{ display: flex; align-items: center; gap: .55rem; padding: .08rem 0; }}
.legend .go {{ display: flex; align-items: center; gap: .55rem; border: 0; background: none;
  padding: .1rem .2rem; margin-left: -.2rem; text-align: left; overflow-wrap: anywhere; }}
.key {{ width: 18px; height: 12px; flex: none; overflow: visible; }}
.by-load, .loads .by-subnet {{ display: none; }}
.loads .by-load {{ display: block; }}
{_COLOURED}{_LOADED}
rect {{ vector-effect: non-scaling-stroke; }}
rect.range, .hatched {{ fill: var(--spare); }}
rect.range {{ stroke: var(--rule); stroke-width: 1px; }}
.spare {{ fill: var(--spare); stroke: var(--grid); stroke-width: .6px; }}
.free {{ fill: color-mix(in srgb, var(--c) 16%, var(--panel)); stroke: var(--grid);
  stroke-width: .6px; }}
.node {{ fill: color-mix(in srgb, var(--c) 45%, var(--panel)); stroke: var(--grid);
  stroke-width: .8px; }}
.block {{ fill: var(--c); pointer-events: none; }}
.withheld {{ fill: var(--hatch); stroke: var(--grid); stroke-width: .6px; }}
.hatching {{ stroke: var(--hatch); stroke-width: 3px; }}
.group, .inner, .subnet, .place {{ fill: none; pointer-events: none; }}
.group {{ stroke: color-mix(in srgb, var(--c) 70%, var(--edge)); stroke-width: 1px; }}
.inner {{ stroke: var(--edge); stroke-width: 1.4px; stroke-dasharray: 5 3; }}
.subnet {{ stroke: color-mix(in srgb, var(--c) 55%, var(--edge)); stroke-width: 2.5px; }}
.place {{ stroke: var(--edge); stroke-width: 3.5px; }}
.crowded .group {{ fill: color-mix(in srgb, var(--c) 30%, var(--panel)); pointer-events: auto; }}
.shapes rect:hover {{ stroke: var(--accent); stroke-width: 2px; }}
.found {{ fill: none; stroke: var(--accent); stroke-width: 3px; pointer-events: none; }}
.labels text {{ fill: var(--ink); stroke: var(--halo); stroke-width: 3px; paint-order: stroke;
  vector-effect: non-scaling-stroke; stroke-linejoin: round; stroke-dasharray: none;
  text-anchor: middle;
  dominant-baseline: central; pointer-events: none; font-weight: 500; }}
.labels .spare, .labels .group {{ fill: var(--faint); }}
.labels .place, .labels .subnet {{ font-weight: 700; }}
@media (max-width: 800px) {{
  body {{ grid-template: auto 60vh auto / 1fr; grid-template-areas: "head" "main" "side";
    height: auto; overflow: auto; }}
  .tools {{ flex-wrap: wrap; margin-left: 0; }}
  aside {{ border-left: 0; border-top: 1px solid var(--rule); }}
}}
"""
