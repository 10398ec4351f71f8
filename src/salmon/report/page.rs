//! The report as an HTML page.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::PipelineReport;
use crate::report::{PAGE_END, Rate, curve, escaped, figure, page_of};
use crate::salmon::Stage;

const TITLE: &str = "SALMON: results of all stages";

/// Maximum number of pairs of replies on the page.
const MOST_REPLIES: usize = 12;

/// Metrics of the policy's training that have a curve: name and description.
const CURVES: &[(&str, &str)] = &[
    ("objective/scores", "Mean reward per reply: the sum over all sources, without the KL penalty"),
    ("objective/kl", "KL to the reference, nats per reply"),
    ("completions/mean_length", "Tokens per reply"),
    ("policy/entropy", "Entropy of the policy, nats per token"),
    (
        "completions/distinct_2",
        "Distinct pairs of adjacent tokens, as a fraction of all pairs; low values mean repetition",
    ),
];

/// Beginning of the names of the metrics by principle.
const PRINCIPLE: &str = "objective/principle/";

impl PipelineReport {
    /// The report as one self-contained HTML page, without scripts, fonts or links to other sites.
    pub fn to_html(&self) -> String {
        let mut page = page_of(TITLE);
        let _ = write!(page, "<h1>{TITLE}</h1>\n<p class=\"soft\">Base {}", escaped(&self.model));
        if let Some(path) = &self.reward_model {
            let _ = write!(page, ", reward model {}", escaped(&path.display().to_string()));
        }
        page.push_str(".</p>\n");
        self.changed(&mut page);
        self.stages(&mut page);
        self.principles(&mut page);
        self.judged(&mut page);
        self.measured(&mut page);
        self.learned(&mut page);
        self.compared(&mut page);
        self.rollouts(&mut page);
        page.push_str(PAGE_END);
        page
    }

    /// What the policy does differently, first on the page: rates, and replies side by side.
    fn changed(&self, page: &mut String) {
        if self.compared_policy().is_none() {
            return;
        }
        let prompts =
            if self.comparison_held_out { "prompts that no stage trained on" } else { "the prompts" };
        let _ = write!(
            page,
            "<h2>Before and after training</h2>\n<p>How often replies to {prompts} follow each principle, with 95% \
             intervals. The policy was trained with the scores of the reward model, so only a program is an \
             independent measure.</p>\n"
        );
        let shown = |rate: Rate| {
            let [rate, low, high] = [rate.rate, rate.low, rate.high].map(|one| 100.0 * one);
            format!("{rate:.0}% ({low:.0} to {high:.0})")
        };
        let rows = self.changes().into_iter().map(|change| {
            [change.text, change.by.name().to_owned(), shown(change.before), shown(change.after)]
        });
        table(page, &["principle", "measured by", "before", "after"], rows);
        page.push_str(
            "<div class=\"wide\"><table class=\"texts\"><tr><th>prompt</th><th>before</th><th>after</th></tr>\n",
        );
        for pair in self.replies().into_iter().take(MOST_REPLIES) {
            let cell = |text: &str| text.trim().lines().map(escaped).collect::<Vec<_>>().join("<br>");
            let [prompt, before, after] = [pair.prompt, pair.before, pair.after].map(cell);
            let _ = writeln!(page, "<tr><td>{prompt}</td><td>{before}</td><td>{after}</td></tr>");
        }
        page.push_str("</table></div>\n");
    }

    fn stages(&self, page: &mut String) {
        let rows =
            Stage::ALL.iter().filter_map(|stage| Some([stage.to_string(), self.folders.get(stage)?.clone()]));
        table(page, &["stage", "folder"], rows);
    }

    fn principles(&self, page: &mut String) {
        page.push_str("<h2>Principles</h2>\n");
        if let Some(set) = &self.principles {
            page.push_str("<p>The judge and the reward model use these principles.</p>\n");
            let rows = set.principles.iter().map(|one| {
                [one.dimension.clone(), one.definition.clone(), one.negative.clone().unwrap_or_default()]
            });
            table(page, &["dimension", "definition", "negative"], rows);
        }
        if self.guidelines.is_empty() {
            return;
        }
        page.push_str("<p>The reward model scores the policy's replies under these guidelines.</p>\n");
        let all = self.guidelines.iter().flat_map(|set| &set.principles);
        let rows = all.map(|one| [one.dimension.clone(), format!("{}", one.weight), one.definition.clone()]);
        table(page, &["dimension", "weight", "definition"], rows);
    }

    fn judged(&self, page: &mut String) {
        if self.judge.is_empty() {
            return;
        }
        let _ = write!(
            page,
            "<h2>The judge</h2>\n<p>{} comparisons. A verdict counts if it is the same in both orders of the \
             replies. The bias is the judge's preference for the reply that it reads first.</p>\n",
            self.comparisons
        );
        let written = |principle: &str| {
            let of = self.written.iter().find(|one| one.principle == principle);
            of.map_or_else(String::new, |one| {
                format!("{} of {}", one.as_written, one.as_written + one.against)
            })
        };
        let rows = self.judge.iter().map(|one| {
            [
                one.principle.clone(),
                one.verdicts.to_string(),
                format!("{:.0}%", 100.0 * one.consistent),
                format!("{:+.3}", one.position_bias),
                written(&one.principle),
            ]
        });
        table(
            page,
            &["principle", "verdicts", "same in both orders", "bias", "match how the reply was written"],
            rows,
        );
    }

    fn measured(&self, page: &mut String) {
        if self.evaluation.is_null() && self.reward.is_empty() {
            return;
        }
        page.push_str("<h2>The reward model</h2>\n");
        page.push_str("<div class=\"figures\">");
        let count =
            |path: &str| self.evaluation.pointer(path).and_then(Value::as_u64).map(|count| count as usize);
        let rates = [
            ("/lists/all/right", "/lists/all/pairs", "correct on held-out pairs, under lists of principles"),
            ("/alone_accuracy/hits", "/alone_accuracy/of", "correct under one principle"),
            ("/alone_flips/hits", "/alone_flips/of", "rankings that flip when one principle is negated"),
        ];
        for (hits, of, what) in rates {
            if let (Some(hits), Some(of)) = (count(hits), count(of).filter(|of| *of > 0)) {
                figure(page, Rate::new(hits, of), what);
            }
        }
        page.push_str("</div>\n");
        if let Some(folder) = self.folders.get(&Stage::Evaluation) {
            let folder = escaped(folder);
            let _ = writeln!(page, "<p>All measurements: <a href=\"{folder}/report.html\">{folder}</a>.</p>");
        }
        plot(page, &self.reward, "train/loss", "Loss per pair; ln 2 for an untrained model");
    }

    fn learned(&self, page: &mut String) {
        if self.align.is_empty() {
            return;
        }
        page.push_str("<h2>The policy</h2>\n");
        for (name, description) in CURVES {
            plot(page, &self.align, name, description);
        }
        let sources: Vec<&String> =
            self.align[0].keys().filter(|name| name.starts_with("objective/reward/")).collect();
        for name in sources {
            plot(page, &self.align, name, "Mean reward per reply from this source, weight included");
        }
        let principles = self.align.iter().flat_map(|record| record.keys());
        let principles: BTreeSet<&String> = principles.filter(|name| name.starts_with(PRINCIPLE)).collect();
        for name in principles {
            let id = &name[PRINCIPLE.len()..];
            plot(
                page,
                &self.align,
                name,
                &format!("Mean log-odds that a reply keeps `{id}`, by the reward model"),
            );
        }
        page.push_str(
            "<p>Mean reward of the replies scored under each principle, with the number of replies in \
             brackets. The columns are the first and the second half of the rollouts.</p>\n",
        );
        let rows = self.by_principle().into_iter().map(|(principle, [before, after])| {
            let shown = |(mean, count): (f64, usize)| {
                if count == 0 { String::new() } else { format!("{mean:+.2} ({count})") }
            };
            [principle.to_owned(), shown(before), shown(after)]
        });
        table(page, &["principle", "first half", "second half"], rows);
    }

    fn compared(&self, page: &mut String) {
        let (Some(comparison), Some(folder)) = (&self.comparison, self.folders.get(&Stage::Comparison))
        else {
            return;
        };
        let folder = escaped(folder);
        let prompts = if self.comparison_held_out {
            format!("{} prompts that no stage trained on", comparison.prompts)
        } else {
            format!("{} of the prompts that the stages train on", comparison.prompts)
        };
        let _ = write!(
            page,
            "<h2>Comparison of steering methods</h2>\n<p>Every method answered {prompts}, under the \
             guidelines of the policy. All replies: <a href=\"{folder}/report.html\">{folder}</a>.</p>\n"
        );
        comparison.methods(page);
    }

    fn rollouts(&self, page: &mut String) {
        let pairs = self.before_and_after();
        if pairs.is_empty() {
            return;
        }
        page.push_str(
            "<h2>Rollouts</h2>\n<p>Each table shows a prompt's reply in its \
             first rollout and in its last. KL is measured to the reference, in nats per reply.</p>\n",
        );
        for [(first_step, first), (last_step, last)] in pairs.into_iter().take(MOST_REPLIES) {
            let _ = write!(
                page,
                "<h3>{}</h3>\n<div class=\"wide\"><table class=\"texts\">",
                escaped(&first.prompt)
            );
            page.push_str(
                "<tr><th class=\"number\">step</th><th class=\"number\">reward</th>\
                 <th class=\"number\">KL</th><th class=\"number\">tokens</th><th>reply</th></tr>",
            );
            for (step, one) in [(first_step, first), (last_step, last)] {
                let _ = write!(
                    page,
                    "<tr><td class=\"number\">{step}</td><td class=\"number\">{:+.2}</td>\
                     <td class=\"number\">{:.1}</td><td class=\"number\">{}</td><td>{}</td></tr>",
                    one.reward,
                    one.kl,
                    one.tokens,
                    escaped(&one.reply)
                );
            }
            page.push_str("</table></div>\n");
        }
    }
}

/// Plots a metric over the steps of a log, if the log has it.
fn plot(page: &mut String, log: &[Map<String, Value>], name: &str, description: &str) {
    let point =
        |record: &Map<String, Value>| Some([record.get("step")?.as_f64()?, record.get(name)?.as_f64()?]);
    let points: Vec<[f64; 2]> = log.iter().filter_map(point).collect();
    if points.is_empty() {
        return;
    }
    let _ = write!(page, "<h3>{}</h3>\n<p class=\"soft\">{}</p>\n", escaped(name), escaped(description));
    page.push_str(&curve(name, ["step", name], &points));
}

/// A table. Columns of numbers are aligned on the right, columns of text on the left.
fn table<const N: usize>(page: &mut String, heads: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = rows.collect();
    let number = |cell: &String| cell.chars().all(|one| one.is_ascii_digit() || " +-.%()of".contains(one));
    let class: Vec<&str> = (0..N)
        .map(|column| {
            let numbers = !rows.is_empty() && rows.iter().all(|row| number(&row[column]));
            if numbers { " class=\"number\"" } else { "" }
        })
        .collect();
    page.push_str("<div class=\"wide\"><table class=\"texts\"><tr>");
    for (head, class) in heads.iter().zip(&class) {
        let _ = write!(page, "<th{class}>{}</th>", escaped(head));
    }
    page.push_str("</tr>\n");
    for row in &rows {
        page.push_str("<tr>");
        for (cell, class) in row.iter().zip(&class) {
            let _ = write!(page, "<td{class}>{}</td>", escaped(cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}
