//! A self-contained HTML page, in light and dark colours.

use std::fmt::Write;

use super::{Rate, escaped};
use crate::output::PAGE_TAG;

const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2430;--soft:#5b6675;--line:#dfe4ea;--one:#2f6fde;\
--two:#d9822b;--three:#2c9a6a;--four:#8a5cc9;--five:#8c6d46;--mark:#b3261e}\
@media(prefers-color-scheme:dark){:root{--paper:#14181e;--ink:#e6eaf0;--soft:#9aa6b5;--line:#2c3440;\
--one:#6ea3ff;--two:#f0a95b;--three:#5fcf9c;--four:#b79af0;--five:#c7a67c;--mark:#ff8a80}}\
body{margin:0 auto;max-width:60rem;padding:2rem 1.2rem 4rem;background:var(--paper);color:var(--ink);\
font:16px/1.5 system-ui,sans-serif}\
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2.4rem 0 .3rem}p{max-width:46rem}\
.soft{color:var(--soft);font-size:.9rem}\
.figures{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.4rem 0}\
.figure{border:1px solid var(--line);border-radius:.5rem;padding:.6rem .9rem;min-width:9rem;flex:1}\
.figure b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}\
svg{width:100%;height:auto;display:block;margin:.6rem 0}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}\
svg .tick,svg .axis{fill:var(--soft)}.grid{stroke:var(--line)}.whisker{stroke:var(--ink);stroke-opacity:.65}\
.mark{stroke:var(--mark);stroke-dasharray:4 4}.s1{fill:var(--one)}.s2{fill:var(--two)}.s3{fill:var(--three)}\
.s4{fill:var(--four)}.s5{fill:var(--five)}\
.p1{fill:var(--one);fill-opacity:.45}.p2{fill:var(--two);fill-opacity:.45}\
.l1{stroke:var(--one);fill:none;stroke-width:2}.l2{stroke:var(--two);fill:none;stroke-width:2}\
.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin:0 .35em 0 1em}\
.k1{background:var(--one);margin-left:0}.k2{background:var(--two)}.k3{background:var(--three)}\
.k4{background:var(--four)}.k5{background:var(--five)}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}\
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right}\
th:first-child,td:first-child{text-align:left}h3{font-size:1rem;margin:1.4rem 0 .3rem}\
.texts th,.texts td{vertical-align:top;text-align:left}.texts .number{text-align:right}\
.texts td:last-child{min-width:24rem}";

/// The beginning of a page, without scripts, fonts or other external files.
pub(crate) fn page_of(title: &str) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         {PAGE_TAG}\n<title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n"
    )
}

/// The end of a page.
pub(crate) const PAGE_END: &str = "</body></html>\n";

/// One large number with its caption.
pub(crate) fn figure(page: &mut String, rate: Rate, what: &str) {
    let Rate { hits, of, low, high, rate } = rate;
    let _ = write!(
        page,
        "<div class=\"figure\"><b>{:.0}%</b>{what}<br><span class=\"soft\">{hits} of {of}, {:.0} to {:.0}%</span>\
         </div>",
        100.0 * rate,
        100.0 * low,
        100.0 * high
    );
}
