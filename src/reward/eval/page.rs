//! A report as one HTML page that needs nothing beside it, in light and in dark.

use std::fmt::Write;

use super::plot::{Bar, bars, escaped, histogram, reliability, scatter};
use super::{Rate, RewardReport};

const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2430;--soft:#5b6675;--line:#dfe4ea;--one:#2f6fde;\
--two:#d9822b;--three:#2c9a6a;--mark:#b3261e}\
@media(prefers-color-scheme:dark){:root{--paper:#14181e;--ink:#e6eaf0;--soft:#9aa6b5;--line:#2c3440;\
--one:#6ea3ff;--two:#f0a95b;--three:#5fcf9c;--mark:#ff8a80}}\
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
.p1{fill:var(--one);fill-opacity:.45}.p2{fill:var(--two);fill-opacity:.45}\
.l1{stroke:var(--one);fill:none;stroke-width:2}.l2{stroke:var(--two);fill:none;stroke-width:2}\
.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin:0 .35em 0 1em}\
.k1{background:var(--one);margin-left:0}.k2{background:var(--two)}.k3{background:var(--three)}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}\
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right}\
th:first-child,td:first-child{text-align:left}";

impl RewardReport {
    /// The report as one self-contained HTML page: no script, no font, nothing from elsewhere.
    pub fn to_html(&self) -> String {
        let mut page = String::with_capacity(1 << 16);
        let _ = write!(
            page,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <title>How a reward model follows principles</title>\n<style>{STYLE}</style></head>\n<body>\n"
        );
        self.head(&mut page);
        self.by_principle(&mut page);
        self.sensitivities(&mut page);
        self.lengths(&mut page);
        self.calibrated(&mut page);
        self.tables(&mut page);
        page.push_str("</body></html>\n");
        page
    }

    fn head(&self, page: &mut String) {
        let set = self.set.as_deref().unwrap_or("none");
        let part = if self.held_out { "of held-out prompts" } else { "of all prompts" };
        let _ = write!(
            page,
            "<h1>How a reward model follows principles</h1>\n\
             <p class=\"soft\">Base {}, principles {}, {} comparisons {part}, {} pairs under drawn lists, {} \
             questions asked.</p>\n<div class=\"figures\">",
            escaped(self.base.as_deref().unwrap_or("unknown")),
            escaped(set),
            self.comparisons,
            self.lists.all.pairs,
            self.questions
        );
        let lists = Rate::new(self.lists.all.right, self.lists.all.pairs);
        figure(page, lists, "right under lists of principles");
        if self.alone_accuracy.of > 0 {
            figure(page, self.alone_accuracy, "right under one principle");
        }
        if self.alone_flips.of > 0 {
            figure(page, self.alone_flips, "turned round by negating one principle");
        }
        if self.list_flips.of > 0 {
            figure(page, self.list_flips, "turned round by negating a whole list");
        }
        if self.order_consistency.of > 0 {
            figure(page, self.order_consistency, "unmoved by the order of the list");
        }
        page.push_str("</div>\n");
    }

    fn by_principle(&self, page: &mut String) {
        if self.alone.is_empty() {
            return;
        }
        page.push_str(
            "<h2>Each principle by itself</h2>\n<p>Two replies to a prompt, of which the judge finds one better \
             by the principle. How often does the model find the same, under the definition and under the \
             negative (by which the other reply is better), and how often does its ranking turn round between \
             the two? Lines are 95% intervals; the dashed one is chance. A star marks principles that the \
             model was not taught.</p>\n<p class=\"soft\"><span class=\"key k1\"></span>definition\
             <span class=\"key k2\"></span>negative<span class=\"key k3\"></span>turned round</p>\n",
        );
        let rows: Vec<(String, Vec<Bar>)> = self
            .alone
            .iter()
            .map(|one| {
                let star = if one.taught { "" } else { " *" };
                let rate = |tally: &super::Tally| Rate::new(tally.right, tally.pairs);
                let bars = vec![
                    Bar::of_rate("definition", rate(&one.definition)),
                    Bar::of_rate("negative", rate(&one.negative)),
                    Bar::of_rate("turned round", one.flips),
                ];
                (format!("{}{star}", one.dimension), bars)
            })
            .collect();
        page.push_str(&bars("Accuracy and negation flips by principle", &rows, 1.0, Some(0.5)));
    }

    fn sensitivities(&self, page: &mut String) {
        if self.sensitivity.is_empty() {
            return;
        }
        page.push_str(
            "<h2>What scores hang on</h2>\n<p>How far the difference of two scores moves when one principle of \
             the list is negated and the others stay, in standard deviations of all differences. A bar near 0 \
             is a principle that the model does not read.</p>\n",
        );
        let most = self.sensitivity.iter().fold(0.1f64, |most, one| most.max(one.shift)) * 1.05;
        let row = |one: &super::Sensitivity| {
            let says = format!("{}: {:.2} ({} pairs)", one.principle, one.shift, one.pairs);
            (one.principle.clone(), vec![Bar { value: one.shift, bounds: None, says }])
        };
        let rows: Vec<(String, Vec<Bar>)> = self.sensitivity.iter().map(row).collect();
        page.push_str(&bars("Sensitivity of scores to each principle", &rows, most, None));
    }

    fn lengths(&self, page: &mut String) {
        /// Points of a plot; more only make it slow.
        const MOST: usize = 600;
        let length = &self.length;
        let shown = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:+.2}"));
        let _ = write!(
            page,
            "<h2>Length</h2>\n<p>Does a long reply score more for being long? The correlation of score and \
             characters is {} under drawn lists and {} without any principle; that of the differences between \
             two replies to the same prompt {} and {}.</p>\n\
             <p class=\"soft\"><span class=\"key k1\"></span>with principles<span class=\"key k2\"></span>without\
             </p>\n",
            shown(length.with_principles),
            shown(length.without_principles),
            shown(length.pairs_with_principles),
            shown(length.pairs_without_principles)
        );
        let every = length.replies.len().div_ceil(MOST).max(1);
        let column =
            |at: usize| length.replies.iter().step_by(every).map(|row| [row[0], row[at]]).collect::<Vec<_>>();
        let names = ["characters of the reply", "score"];
        page.push_str(&scatter("Score against length", names, &[column(1), column(2)]));
    }

    fn calibrated(&self, page: &mut String) {
        let calibration = &self.calibration;
        let _ = write!(
            page,
            "<h2>Calibration</h2>\n<p>The difference of two scores says how likely the first reply is preferred. \
             On the dashed line that is so. Expected error {:.3}, Brier score {:.3}, loss {:.3} (chance: {:.3}).\
             </p>\n",
            calibration.expected_error,
            calibration.brier,
            calibration.loss,
            std::f64::consts::LN_2
        );
        let names = ["predicted chance that the first reply is preferred", "how often it is"];
        page.push_str(&reliability("Predicted against observed preference", names, &calibration.bins));
        page.push_str(
            "<h2>Margins</h2>\n<p>Score of the preferred reply minus score of the other, for each pair under a \
             drawn list: right of 0 the model is right.</p>\n",
        );
        page.push_str(&histogram("Margins of pairs", ["score difference", "pairs"], &self.margins));
    }

    fn tables(&self, page: &mut String) {
        page.push_str(
            "<h2>Figures</h2>\n<div class=\"wide\"><table><tr><th>decided by</th><th>pairs</th><th>right</th>\
             <th>margin</th><th>negated: pairs</th><th>right</th><th>margin</th></tr>\n",
        );
        let mut names: Vec<&String> = self.lists.by_principle.keys().collect();
        names.extend(self.lists.by_negative.keys());
        names.sort();
        names.dedup();
        for name in names {
            let _ = write!(page, "<tr><td>{}</td>", escaped(name));
            for tallies in [&self.lists.by_principle, &self.lists.by_negative] {
                let tally = tallies.get(name).copied().unwrap_or_default();
                let _ = write!(
                    page,
                    "<td>{}</td><td>{:.0}%</td><td>{:.2}</td>",
                    tally.pairs,
                    100.0 * tally.accuracy,
                    tally.margin
                );
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</table></div>\n");
        if self.judge.is_empty() {
            return;
        }
        page.push_str(
            "<h2>The judge</h2>\n<p>How the judge did that made the comparisons, all prompts together: the part \
             of its verdicts that do not hang on the order of the replies, and how far it prefers whatever it is \
             shown first.</p>\n<div class=\"wide\"><table><tr><th>principle</th><th>verdicts</th>\
             <th>consistent</th><th>position bias</th></tr>\n",
        );
        for one in &self.judge {
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{:.0}%</td><td>{:+.3}</td></tr>",
                escaped(&one.principle),
                one.verdicts,
                100.0 * one.consistent,
                one.position_bias
            );
        }
        page.push_str("</table></div>\n");
    }
}

/// One large number with what it means.
fn figure(page: &mut String, rate: Rate, what: &str) {
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
