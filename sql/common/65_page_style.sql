-- How the pages look. Colours are pairs of light and dark with a contrast of at least 4.5:1 for text.

CREATE FUNCTION wee5_cron.page_style() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT $css$
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --text: #1c2330; --quiet: #586274; --line: #dde1e8;
  --good: #17713a; --good-fill: #35a863; --good-back: #e2f5e9;
  --bad: #b3261e; --bad-fill: #d8463c; --bad-back: #fdeae8;
  --warn: #875200; --warn-fill: #d99a24; --warn-back: #fdf1d8;
  --calm: #2456a6; --calm-fill: #5b8def; --calm-back: #e6eefc;
  --code: #f0f2f5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151b; --card: #1a1f28; --text: #e5e9f0; --quiet: #9ba6b8; --line: #2d3543;
    --good: #6fd08f; --good-fill: #3fa566; --good-back: #14301f;
    --bad: #ff9a90; --bad-fill: #e0594f; --bad-back: #3a1a18;
    --warn: #f0bf62; --warn-fill: #c98f1f; --warn-back: #35280f;
    --calm: #93b8ff; --calm-fill: #4e7fe0; --calm-back: #18263f;
    --code: #11151c;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.05rem; font-weight: 600; color: var(--quiet); margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
.sentence { font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; font-weight: 700; margin: .3rem 0 .2rem; overflow-wrap: anywhere; }
.sentence.good { color: var(--good); } .sentence.bad { color: var(--bad); } .sentence.calm { color: var(--calm); }
.quiet, footer, caption, .made { color: var(--quiet); }
.made { margin: 0; font-size: .9rem; }
footer { padding-top: 1.5rem; padding-bottom: 2.5rem; font-size: .9rem; }
.card, .scroll { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--calm-fill); outline-offset: 2px; }
.card { padding: .9rem 1.1rem; margin: 0 0 .7rem; border-left: .3rem solid var(--bad-fill); overflow-wrap: anywhere; }
.card.warning { border-left-color: var(--warn-fill); }
.card h3 { margin: 0 0 .2rem; font-size: 1rem; }
.card p, .error, .hint { margin: .25rem 0; }
.error, .hint { white-space: pre-wrap; overflow-wrap: anywhere; }
.hint { font: .85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--code); padding: .5rem .7rem; border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { text-align: start; padding: .5rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { font-size: .8rem; font-weight: 600; color: var(--quiet); white-space: nowrap; }
tbody th { font-weight: 600; min-width: 9rem; max-width: 18rem; overflow-wrap: anywhere; }
tbody th small, td small { display: block; font-weight: 400; color: var(--quiet); overflow-wrap: anywhere; }
td { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.words { white-space: normal; min-width: 9rem; }
td.wide { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; }
.state { display: inline-block; padding: .05rem .55rem; border-radius: 1rem; font-size: .82rem; font-weight: 600; background: var(--code); color: var(--quiet); white-space: nowrap; }
.state.ok, .state.succeeded { background: var(--good-back); color: var(--good); }
.state.failing, .state.failed, .state.error, .state.late, .state.blocked, .state.incompatible { background: var(--bad-back); color: var(--bad); }
.state.warning, .state.retrying, .state.waiting { background: var(--warn-back); color: var(--warn); }
.state.sending, .state.queued, .state.accepted { background: var(--calm-back); color: var(--calm); }
.strip { display: inline-flex; align-items: flex-end; gap: 2px; height: 1.2rem; min-width: 7.4rem; }
.strip i { width: 4px; height: 55%; border-radius: 1px; background: var(--good-fill); }
.strip i.failed { height: 100%; background: var(--bad-fill); }
.strip i.skipped, .strip i.cancelled { height: 25%; background: var(--quiet); }
.strip i.open { height: 75%; background: var(--warn-fill); }
.bar { display: flex; height: .7rem; min-width: 9rem; background: var(--code); border-radius: .2rem; overflow: hidden; }
.bar i { flex: none; background: var(--calm-fill); }
.bar i.dns { background: var(--warn-fill); } .bar i.connect { background: var(--quiet); } .bar i.tls { background: var(--bad-fill); } .bar i.body { background: var(--good-fill); }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: .5rem 0 0; padding: 0; list-style: none; font-size: .85rem; color: var(--quiet); }
.key i { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem; vertical-align: -.1rem; margin-inline-end: .3rem; background: var(--calm-fill); }
.key i.dns { background: var(--warn-fill); } .key i.connect { background: var(--quiet); } .key i.tls { background: var(--bad-fill); } .key i.body { background: var(--good-fill); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .6rem .9rem; overflow-wrap: anywhere; }
.facts dt { font-size: .8rem; color: var(--quiet); } .facts dd { margin: 0; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; }
dd code { font-size: .78rem; font-weight: 400; }
.hours { display: flex; align-items: flex-end; gap: 3px; height: 7.5rem; margin: 0; padding: .9rem 1.1rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; list-style: none; }
.hours li { flex: 1 1 0; min-width: 0; display: flex; flex-direction: column; justify-content: flex-end; height: 100%; text-align: center; font-size: .7rem; color: var(--quiet); }
.hours i { display: block; background: var(--calm-fill); border-radius: 2px 2px 0 0; min-height: 1px; }
.hours li:nth-child(even) span { visibility: hidden; }
.answer { max-height: 24rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; background: var(--code); border-radius: .4rem; padding: .7rem; margin: 0; font: .85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 40rem) { header, main, footer { padding-inline: .8rem; } th, td { padding: .45rem .55rem; } .hours { gap: 1px; padding: .7rem .5rem; } .hours li { font-size: .6rem; } }
@media print { .scroll { overflow: visible; } body { background: none; } }
$css$
  $$;
COMMENT ON FUNCTION wee5_cron.page_style() IS 'Internal, for pages: their style sheet';
