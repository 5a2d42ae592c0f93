"""The style sheet of every report: one constant, inlined, light and dark, readable on a phone and on paper.

Colours are named by role. The series colours keep their order everywhere and stay apart for colour-blind readers on both grounds.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fbfbfa; --card: #ffffff; --ink: #1c1f23; --soft: #5d646d; --faint: #8b929b; --line: #e3e5e8; --hair: #eef0f2;
  --s1: #2f6fd0; --s2: #d9822b; --s3: #1f9d8a; --s4: #8a5cc9; --s5: #b8465f; --s6: #6b7280;
  --good: #1a7f4e; --good-ground: #e5f4ec; --bad: #b3372f; --bad-ground: #fbe9e7; --warn: #8a5a00; --warn-ground: #fdf3dc;
  --warn-line: #e3a92f;
}
@media (prefers-color-scheme: dark) { :root {
  --ground: #14171a; --card: #1b1f23; --ink: #e7eaed; --soft: #a2abb4; --faint: #7b848e; --line: #2d3339; --hair: #23282d;
  --s1: #6ba2f2; --s2: #eba65c; --s3: #4fc4b0; --s4: #b595ea; --s5: #e5859a; --s6: #9aa3ad;
  --good: #6fd3a0; --good-ground: #173326; --bad: #f29087; --bad-ground: #3a1f1d; --warn: #f0c674; --warn-ground: #332a15;
  --warn-line: #b58a2b;
} }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", "Noto Sans", Arial, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 980px; margin: 0 auto; padding: 40px 24px 72px; }
h1 { font-size: 27px; line-height: 1.25; letter-spacing: -0.012em; margin: 0; font-weight: 650; }
h2 { font-size: 19px; line-height: 1.3; letter-spacing: -0.006em; margin: 0; font-weight: 640; }
h3 { font-size: 15px; margin: 0 0 6px; font-weight: 620; }
p { margin: 0 0 12px; max-width: 72ch; overflow-wrap: anywhere; }
.subtitle { color: var(--soft); font-size: 16px; margin: 6px 0 0; }
nav { margin-top: 18px; display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; }
nav a { color: var(--soft); text-decoration: none; border-bottom: 1px solid var(--line); }
nav a:hover { color: var(--ink); border-color: var(--ink); }
section { margin-top: 44px; padding-top: 20px; border-top: 1px solid var(--line); }
section > h2 + p.lead { margin-top: 4px; }
.lead { color: var(--soft); }
.block { margin-top: 20px; }
.caption { color: var(--soft); font-size: 13.5px; margin: 0 0 8px; max-width: 84ch; }
.note { color: var(--faint); font-size: 12.5px; margin: 6px 0 0; }
.small { color: var(--faint); font-size: 12.5px; white-space: nowrap; }
code, pre { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--hair); border-radius: 6px; padding: 10px 12px; margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }

.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(176px, 1fr)); gap: 12px; margin-top: 24px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px 11px; }
.tile .name { color: var(--soft); font-size: 13px; line-height: 1.35; }
.tile .value { font-size: 25px; font-weight: 640; letter-spacing: -0.015em; line-height: 1.35; }
.tile .value .unit { font-size: 15px; font-weight: 500; color: var(--soft); letter-spacing: 0; }
.tile .small { white-space: normal; }

.warning { border-left: 3px solid var(--warn-line); background: var(--warn-ground); color: var(--warn); padding: 9px 14px;
  border-radius: 0 6px 6px 0; margin-top: 14px; overflow-wrap: anywhere; }

.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 560; color: var(--soft); font-size: 13px; border-bottom: 1px solid var(--line);
  vertical-align: bottom; }
th .unit { font-weight: 400; color: var(--faint); }
th, td { padding: 6px 16px 6px 0; }
td { border-bottom: 1px solid var(--hair); vertical-align: top; overflow-wrap: break-word; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; white-space: nowrap; }
th.number:first-child, td.number:first-child { text-align: left; }
tr.strong td { font-weight: 620; border-top: 1px solid var(--line); }
tr.strong .small { font-weight: 400; }
.badge { display: inline-block; font-size: 12px; line-height: 1.5; padding: 0 8px; border-radius: 9px; white-space: nowrap;
  background: var(--hair); color: var(--soft); font-weight: 560; }
.badge.good { background: var(--good-ground); color: var(--good); }
.badge.bad { background: var(--bad-ground); color: var(--bad); }
.badge.strong { background: color-mix(in oklab, var(--s1) 16%, var(--card)); color: var(--s1); }
.badge.warn { background: var(--warn-ground); color: var(--warn); }

dl { display: grid; grid-template-columns: minmax(120px, max-content) 1fr; gap: 4px 24px; margin: 0; font-size: 14px; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }

.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 13px; color: var(--soft); margin-bottom: 8px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.legend i.rule { width: 0; height: 13px; border-left: 2px dashed var(--soft); border-radius: 0; vertical-align: -2px;
  margin-left: 5px; }
.c1 { --c: var(--s1); } .c2 { --c: var(--s2); } .c3 { --c: var(--s3); } .c4 { --c: var(--s4); } .c5 { --c: var(--s5);
  } .c6 { --c: var(--s6); }
.legend i:not(.rule) { background: var(--c); }
svg { display: block; overflow: visible; }
svg .mark { fill: var(--c); }
svg .faded { fill: var(--c); opacity: .17; }
svg .curve { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
svg .raw { fill: none; stroke: var(--c); stroke-width: 1; opacity: .28; vector-effect: non-scaling-stroke; }
svg .grid { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
svg .zero { stroke: var(--faint); stroke-width: 1; vector-effect: non-scaling-stroke; }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; opacity: .8; }
svg .chance { stroke: var(--soft); stroke-width: 2; stroke-dasharray: 3 2; }
svg .dot { fill: var(--c); stroke: var(--card); stroke-width: 1.5; }

svg.radar { width: 100%; max-width: 520px; height: auto; margin: 0 auto; }
svg.radar text { font-size: 11px; fill: var(--faint); }
svg.radar text.axis { font-size: 13px; fill: var(--ink); }

.bars { display: grid; grid-template-columns: minmax(90px, max-content) minmax(120px, 1fr) max-content; gap: 0 14px;
  align-items: center; font-size: 13.5px; }
.bars .label { max-width: 240px; overflow-wrap: anywhere; line-height: 1.3; }
.bars .value { white-space: nowrap; text-align: right; }
.bars .axis { grid-column: 2; position: relative; height: 20px; font-size: 12px; color: var(--faint);
  border-top: 1px solid var(--line); }
.bars .axis span, .plot .x span { position: absolute; top: 3px; transform: translateX(-50%); white-space: nowrap; }
.bars .axis .start, .plot .x .start { transform: none; }
.bars .axis .end, .plot .x .end { transform: translateX(-100%); }
.bars .gap { grid-column: 1 / -1; height: 9px; }

.plot { display: grid; grid-template-columns: max-content 1fr; gap: 0 8px; font-size: 12px; color: var(--faint); }
.plot .y { position: relative; height: 220px; text-align: right; min-width: 34px; }
.plot .y span { position: absolute; right: 0; transform: translateY(-50%); white-space: nowrap; }
.plot .y .widest { position: static; transform: none; visibility: hidden; display: block; height: 0; overflow: hidden; }
.plot .area { height: 220px; position: relative; }
.plot .area svg { width: 100%; height: 100%; }
.plot.low .y, .plot.low .area { height: 64px; }
.plot .x { grid-column: 2; position: relative; height: 20px; }
.plot .xlabel { grid-column: 2; text-align: center; }
.plot .span { position: absolute; top: 0; bottom: 0; background: color-mix(in oklab, var(--s2) 20%, transparent);
  border-left: 1.5px solid var(--s2);
  color: var(--ink); font-size: 11.5px; padding-left: 4px; overflow: hidden; white-space: nowrap; }

table.heat { width: auto; font-size: 13px; }
table.heat th, table.heat td { padding: 5px 9px; text-align: center; border: 0; white-space: nowrap; }
table.heat th:first-child { text-align: left; padding-left: 0; }
table.heat td { background: color-mix(in oklab, var(--c) calc(var(--v) * 62%), var(--card)); border: 2px solid var(--ground);
  border-radius: 5px; }
table.heat td.none { background: none; color: var(--faint); }

.strip { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px 11px; margin-top: 10px; }
.strip .top { display: flex; gap: 10px; align-items: baseline; margin-bottom: 8px; }
.strip .top .badge { flex: none; }
.strip .text { overflow-wrap: anywhere; line-height: 1.4; }
.strip .detail { color: var(--soft); font-size: 13px; margin-top: 7px; overflow-wrap: anywhere; }
.film { display: grid; grid-template-columns: repeat(var(--n), minmax(0, 148px)); gap: 4px; }
.film figure { margin: 0; min-width: 0; }
.film img { width: 100%; height: auto; display: block; border-radius: 3px; background: var(--hair); }
.film figcaption { font-size: 11px; color: var(--faint); line-height: 1.6; }

.walk { list-style: none; margin: 0; padding: 0; counter-reset: step; }
.walk > li { counter-increment: step; position: relative; padding: 0 0 22px 42px; }
.walk > li::before { content: counter(step); position: absolute; left: 0; top: -1px; width: 25px; height: 25px; border-radius: 50%;
  border: 1.5px solid var(--s1); color: var(--s1); font-size: 13px; font-weight: 620; text-align: center; line-height: 22px; }
.walk > li::after { content: ""; position: absolute; left: 12px; top: 29px; bottom: 3px; border-left: 1.5px solid var(--line); }
.walk > li:last-child { padding-bottom: 0; }
.walk > li:last-child::after { display: none; }
.walk .block { margin-top: 10px; }

details { margin-top: 12px; }
summary { cursor: pointer; color: var(--soft); font-size: 14px; }
details[open] > summary { margin-bottom: 8px; }

@media (max-width: 640px) {
  main { padding: 24px 16px 48px; }
  h1 { font-size: 23px; }
  .film { grid-template-columns: repeat(min(var(--n), 4), minmax(0, 1fr)); }
  .headline { grid-template-columns: 1fr 1fr; }
  .bars { grid-template-columns: minmax(60px, 92px) minmax(60px, 1fr) max-content; gap: 0 8px; font-size: 12.5px; }
  .bars .small { display: none; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; }
}
@media print { section { break-inside: avoid-page; } body { background: none; } }
"""
