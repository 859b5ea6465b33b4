"""The style and the script of the HTML pages, which load nothing from elsewhere and work without a script."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

STYLE = """
:root {
  color-scheme: light dark;
  --back: #f5f6f8; --card: #ffffff; --line: #e1e4ea; --text: #1b2130; --dim: #646d80; --faint: #f0f2f6;
  --accent: #2f5fd0; --good: #1a7f4b; --good-back: #dff5e8; --warn: #8f5a00; --warn-back: #fff0cf;
  --bad: #b3261e; --bad-back: #fde4e1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #11141b; --card: #191e28; --line: #2a3140; --text: #e4e8f1; --dim: #939db2; --faint: #212735;
    --accent: #8fb0ff; --good: #6fd69f; --good-back: #173526; --warn: #f0c05e; --warn-back: #3a2e12;
    --bad: #ff9a90; --bad-back: #44201d;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main, header > div { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
header { background: var(--card); border-bottom: 1px solid var(--line);
  position: sticky; top: 0; z-index: 2; }
header > div { display: flex; align-items: center; gap: 14px; height: 56px; }
header h1 { font-size: 19px; letter-spacing: -.02em; margin: 0; }
header h1 a { color: inherit; }
header nav { margin-left: auto; display: flex; gap: 18px; align-items: center; }
main { padding-bottom: 60px; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
h2 { font-size: 15px; margin: 30px 0 10px; display: flex; align-items: baseline; gap: 10px; }
section, #stats { scroll-margin-top: 64px; }
h2 small, .dim { color: var(--dim); font-weight: normal; }
small { font-size: 12px; }
code, .mono { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; overflow-x: auto; }
.facts { display: grid; margin-top: 20px;
  grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; }
.facts .card { padding: 12px 16px; }
.facts b { display: block; font-size: 21px; line-height: 1.3; font-weight: 600; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; }
.about { margin: 14px 2px 0; color: var(--dim); overflow-wrap: anywhere; }
.about span { margin-right: 18px; }
.about code { color: var(--text); }
.pill { border-radius: 99px; padding: 1px 10px; font-size: 12px; font-weight: 600; white-space: nowrap; }
.good { color: var(--good); background: var(--good-back); }
.warn { color: var(--warn); background: var(--warn-back); }
.bad { color: var(--bad); background: var(--bad-back); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 7px 16px; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child > td { border-bottom: 0; }
thead th { font-size: 12px; font-weight: 500; color: var(--dim); background: var(--faint);
  white-space: nowrap; }
tbody tr.group td { background: var(--faint); border-top: 1px solid var(--line); }
tbody:first-of-type tr.group td { border-top: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { display: inline-block; min-width: 4ch; }
.empty { padding: 18px; color: var(--dim); text-align: center; }
.chain span + span::before { content: "\\2192"; color: var(--dim); margin: 0 7px; }
.bar { width: 84px; height: 6px; vertical-align: middle; margin-right: 12px; }
.bar .of { fill: var(--faint); } .bar .is { fill: var(--accent); }
.commands { display: grid; gap: 16px; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); }
.commands ul { list-style: none; margin: 0; padding: 0; }
.commands li { padding: 7px 16px; border-bottom: 1px solid var(--line); }
.commands .look li { display: grid; grid-template-columns: 160px 1fr auto; gap: 0 12px;
  align-items: baseline; }
.commands .also { display: flex; gap: 12px; font-size: 12.5px; }
.commands li:last-child { border-bottom: 0; }
.commands h3 { font-size: 12px; font-weight: 500; color: var(--dim); margin: 0; padding: 7px 16px;
  background: var(--faint); border-bottom: 1px solid var(--line); }
.commands p { margin: 0; color: var(--dim); font-size: 12.5px; }
form { margin: 0; display: flex; flex-wrap: wrap; gap: 6px 10px; align-items: center; }
form button { margin-right: 4px; }
button, input, select { font: inherit; font-size: 13px; color: var(--text); background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; padding: 3px 10px; }
button { background: var(--faint); cursor: pointer; }
button:hover { border-color: var(--accent); }
button.danger { color: var(--bad); }
label { display: inline-flex; gap: 5px; align-items: center; font-size: 12.5px; color: var(--dim); }
input[type=checkbox] { accent-color: var(--accent); margin: 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.tools { display: flex; gap: 14px; align-items: center; padding: 10px 16px;
  border-bottom: 1px solid var(--line); }
.tools input[type=search] { flex: 1; min-width: 160px; }
.scroll { max-height: 520px; overflow-y: auto; }
.scroll th { position: sticky; top: 0; }
#rows td { padding: 3px 16px; overflow-wrap: anywhere; }
#rows .zero { color: var(--dim); }
dialog { border: 1px solid var(--line); border-radius: 10px; background: var(--card); color: var(--text);
  max-width: min(760px, 92vw); padding: 0; box-shadow: 0 12px 48px #0005; }
dialog header { position: static; padding: 9px 16px; display: flex; gap: 20px;
  justify-content: space-between; }
dialog pre { margin: 0; padding: 14px 16px; max-height: 60vh; overflow: auto; min-width: 320px; }
dialog::backdrop { background: #0006; }
.script { display: none; } .scripted .script { display: inline-flex; } .scripted .noscript { display: none; }
@media (max-width: 560px) {
  .commands { grid-template-columns: 1fr; } .commands .look li { grid-template-columns: 1fr; }
  header nav a { display: none; }
}
"""

SCRIPT = """
'use strict';
const find = id => document.getElementById(id);
document.documentElement.classList.add('scripted');

// What is live is drawn by the server, and put in the place of what was there.
async function refresh() {
  const answer = await fetch('/?part=live');
  if (!answer.ok) throw new Error(answer.statusText);
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  for (const part of page.querySelectorAll('[data-live]')) {
    const old = find(part.id);
    if (old) old.replaceWith(part);
  }
}

let before = new Map(), then = 0;
function cells(stats) {
  const rows = [];
  for (const stat of stats) {
    if (stat.histograms === undefined) { rows.push([stat.name, stat.value]); continue; }
    const known = stat.histograms.supported_quantiles || [];
    for (const one of stat.histograms.computed_quantiles || []) {
      const text = [50, 90, 99, 100].map(q => [q, one.values[known.indexOf(q)]])
        .filter(([q, v]) => v ? v.cumulative !== null : false).map(([q, v]) => 'P' + q + ' ' + v.cumulative);
      rows.push([one.name, text.join('   ') || 'no values']);
    }
  }
  return rows;
}
function wanted() {
  const text = find('filter').value.trim();
  if (!text) return () => true;
  try { const pattern = new RegExp(text); return name => pattern.test(name); }
  catch (error) { return name => name.includes(text); }
}
let rows = [];
function draw() {
  const keep = wanted(), body = document.createDocumentFragment();
  let count = 0;
  for (const [name, value, rate] of rows) {
    if (!keep(name)) continue;
    count += 1;
    const row = document.createElement('tr');
    for (const [text, kind] of [[name, 'mono'], [value, 'mono number'], [rate, 'number dim']]) {
      const cell = document.createElement('td');
      cell.className = kind; cell.textContent = text; row.append(cell);
    }
    if (value === 0) row.className = 'zero';
    body.append(row);
  }
  find('rows').replaceChildren(body);
  find('count').textContent = count + ' of ' + rows.length;
}
async function load() {
  const asked = new URLSearchParams({format: 'json'});
  if (find('used').checked) asked.append('usedonly', '1');
  const answer = await fetch('/stats?' + asked);
  if (!answer.ok) throw new Error(answer.statusText);
  const now = performance.now(), seconds = then ? (now - then) / 1000 : 0, after = new Map();
  rows = cells((await answer.json()).stats).map(([name, value]) => {
    const old = before.get(name);
    after.set(name, value);
    const changed = typeof old === 'number' ? value !== old : false;
    if (!changed || !seconds) return [name, value, ''];
    const rate = (value - old) / seconds;
    return [name, value, (rate > 0 ? '+' : '') + rate.toFixed(Math.abs(rate) < 10 ? 1 : 0) + '/s'];
  });
  before = after; then = now;
  draw();
}
// The server has other things to do: it is left alone for 20 times as long as it took to answer.
let next = 0;
async function tick(force) {
  const begun = performance.now();
  if (force !== true) if (begun < next) return;
  const live = find('live');
  if (force !== true) {
    if (document.hidden) return;
    if (live ? !live.checked : false) return;
  }
  try {
    if (find('listeners')) await refresh();
    if (find('rows')) await load();
    next = begun + 20 * (performance.now() - begun);
  } catch (error) {
    const state = find('state');
    state.textContent = 'NO ANSWER'; state.className = 'pill bad';
  }
}
async function submit(event) {
  const form = event.target;
  if (form.method !== 'post') return;
  event.preventDefault();
  if (form.dataset.confirm) if (!confirm(form.dataset.confirm)) return;
  const body = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (name === 'pairs') for (const [key, text] of new URLSearchParams(value)) body.append(key, text);
    else if (value) body.append(name, value);
  }
  let title = form.getAttribute('action'), text;
  try {
    const answer = await fetch(title, {method: 'POST', body});
    text = await answer.text(); title += '  ' + answer.status;
  } catch (error) { text = String(error); }
  find('title').textContent = title; find('answer').textContent = text; find('said').showModal();
  tick(true);
}
document.addEventListener('submit', submit);
find('filter').addEventListener('input', draw);
find('used').addEventListener('change', () => tick(true));
tick(true);
setInterval(tick, 2000);
"""


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


#: Nothing but this style and this script runs, nothing is loaded from elsewhere, and no other page frames it.
POLICY = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; img-src data:"
)
