//! The report as a page.

use std::fmt::Write;

use super::{Rate, RewardReport};
use crate::report::{Bar, PAGE_END, bars, escaped, figure, histogram, page_of, reliability, scatter};

const TITLE: &str = "How a reward model follows principles";

impl RewardReport {
    /// The report as one self-contained HTML page, without scripts, fonts or links to other sites.
    pub fn to_html(&self) -> String {
        let mut page = page_of(TITLE);
        self.head(&mut page);
        self.by_principle(&mut page);
        self.sensitivities(&mut page);
        self.lengths(&mut page);
        self.calibrated(&mut page);
        self.tables(&mut page);
        page.push_str(PAGE_END);
        page
    }

    fn head(&self, page: &mut String) {
        let set = self.set.as_deref().unwrap_or("none");
        let part = if self.held_out { "of held-out prompts" } else { "of all prompts" };
        let _ = write!(
            page,
            "<h1>{TITLE}</h1>\n<p class=\"soft\">Base {}, principles {}, {} comparisons {part}, {} pairs under drawn lists, {} \
             questions.</p>\n<div class=\"figures\">",
            escaped(self.base.as_deref().unwrap_or("unknown")),
            escaped(set),
            self.comparisons,
            self.lists.all.pairs,
            self.questions
        );
        let lists = Rate::new(self.lists.all.right, self.lists.all.pairs);
        figure(page, lists, "correct under lists of principles");
        if self.alone_accuracy.of > 0 {
            figure(page, self.alone_accuracy, "correct under one principle");
        }
        if self.alone_flips.of > 0 {
            figure(page, self.alone_flips, "flipped by negating one principle");
        }
        if self.list_flips.of > 0 {
            figure(page, self.list_flips, "flipped by negating a whole list");
        }
        if self.order_consistency.of > 0 {
            figure(page, self.order_consistency, "unchanged by the order of the list");
        }
        page.push_str("</div>\n");
    }

    fn by_principle(&self, page: &mut String) {
        if self.alone.is_empty() {
            return;
        }
        page.push_str(
            "<h2>Each principle alone</h2>\n<p>The judge prefers one of two replies under the principle, and the \
             other reply under its negative. Definition and negative: how often the model prefers the same reply \
             as the judge. Flipped: how often its ranking changes between the two. Lines are 95% intervals. The \
             dashed line is chance. A star marks principles that the model was not trained on.</p>\n\
             <p class=\"soft\"><span class=\"key k1\"></span>definition\
             <span class=\"key k2\"></span>negative<span class=\"key k3\"></span>flipped</p>\n",
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
                    Bar::of_rate("flipped", one.flips),
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
            "<h2>Sensitivity to each principle</h2>\n<p>How much the difference of two scores changes when only \
             this principle of the list is negated, in standard deviations of all differences. The model ignores \
             a principle whose bar is near 0.</p>\n",
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
        /// Maximum number of points in a plot. More points only slow the page down.
        const MOST: usize = 600;
        let length = &self.length;
        let shown = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:+.2}"));
        let _ = write!(
            page,
            "<h2>Length</h2>\n<p>Do replies score higher only because they are long? The correlation of score and \
             number of characters is {} under drawn lists and {} without principles. For the differences between \
             two replies to the same prompt, it is {} and {}.</p>\n\
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
            "<h2>Calibration</h2>\n<p>The difference of two scores predicts how likely the first reply is \
             preferred. On the dashed line, the prediction matches the observed rate. Expected error {:.3}, \
             Brier score {:.3}, loss {:.3} (chance: {:.3}).</p>\n",
            calibration.expected_error,
            calibration.brier,
            calibration.loss,
            std::f64::consts::LN_2
        );
        let names = ["predicted chance that the first reply is preferred", "observed rate"];
        page.push_str(&reliability("Predicted against observed preference", names, &calibration.bins));
        page.push_str(
            "<h2>Margins</h2>\n<p>Score of the preferred reply minus score of the other, for each pair under a \
             drawn list. The model is correct if the margin is above 0.</p>\n",
        );
        page.push_str(&histogram("Margins of pairs", ["score difference", "pairs"], &self.margins));
    }

    fn tables(&self, page: &mut String) {
        page.push_str(
            "<h2>Figures</h2>\n<div class=\"wide\"><table><tr><th>decided by</th><th>pairs</th><th>correct</th>\
             <th>margin</th><th>negated: pairs</th><th>correct</th><th>margin</th></tr>\n",
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
            "<h2>The judge</h2>\n<p>The judge that made the comparisons, over all prompts. Consistent: share of \
             its verdicts that do not depend on the order of the replies. Position bias: how much it prefers the \
             reply that is shown first.</p>\n<div class=\"wide\"><table><tr><th>principle</th><th>verdicts</th>\
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
