//! The comparison as a page.

use std::fmt::Write;

use super::{ComparisonReport, Mean, MethodReport};
use crate::report::{Bar, PAGE_END, bars, escaped, labelled, page_of};

const TITLE: &str = "Steering by principles, method by method";
/// Prompts whose replies are on the page; all of them are in the JSON.
const SHOWN: usize = 20;

impl ComparisonReport {
    /// The report as one self-contained HTML page: no script, no font, nothing from elsewhere.
    pub fn to_html(&self) -> String {
        let mut page = page_of(TITLE);
        self.head(&mut page);
        self.methods(&mut page);
        self.texts(&mut page);
        page.push_str(PAGE_END);
        page
    }

    fn head(&self, page: &mut String) {
        let _ = write!(
            page,
            "<h1>{TITLE}</h1>\n<p class=\"soft\">Base {}, principles {} ({}), {} prompts, temperature {}, seed \
             {}; {} candidates, blocks of {} tokens; candidates are told the principles: {}.</p>\n",
            escaped(self.base.as_deref().unwrap_or("unknown")),
            escaped(&self.set),
            escaped(&self.principles.join(", ")),
            self.prompts,
            self.temperature,
            self.seed,
            self.n,
            self.block,
            self.tell.name()
        );
    }

    /// What the methods do to replies, how far from the base that is, and what it costs.
    pub(crate) fn methods(&self, page: &mut String) {
        self.figures(page);
        self.tradeoffs(page);
        self.checked(page);
    }

    fn figures(&self, page: &mut String) {
        page.push_str(
            "<h2>Method by method</h2>\n<p>Score: what the reward model says of the replies under the whole list, with its \
             standard error; where it chose among candidates itself, it judges its own choice. Better: replies that \
             score more than the base's to the same prompt. Distance from the base, in nats for a reply: what the \
             model that draws replies makes more likely than the base, and what choosing among them adds at most. \
             Distinct pairs: the part of all pairs of neighbouring tokens, in the first 64 of each reply, that are \
             different ones; far below the base's where a model repeats itself.",
        );
        if !self.plain_sampling {
            page.push_str(
                " Replies were not drawn at a temperature above 0 without filters, so these are differences of \
                 log-probabilities and no estimates of a KL divergence.",
            );
        }
        page.push_str(
            "</p>\n<div class=\"wide\"><table><tr><th>method</th><th>score</th><th>better</th><th>tokens</th>\
             <th>distinct pairs</th><th>distance, drawn</th><th>choosing, at most</th><th>drawn tokens</th><th>read tokens</th>\
             <th>seconds</th></tr>\n",
        );
        for method in &self.methods {
            let mean = |mean: Option<Mean>| {
                mean.map_or("-".to_owned(), |one| format!("{:.2} &plusmn; {:.2}", one.mean, one.error))
            };
            let better = method.better.map_or("-".to_owned(), |rate| format!("{:.0}%", 100.0 * rate.rate));
            let choosing = method.divergence.map_or("-".to_owned(), |one| format!("{:.2}", one.choosing));
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{better}</td><td>{:.1}</td><td>{:.0}%</td><td>{}</td><td>{choosing}</td>\
                 <td>{}</td><td>{}</td><td>{:.1}</td></tr>",
                escaped(&method.name),
                mean(method.score),
                method.reply_tokens.mean,
                100.0 * method.distinct_2,
                mean(method.divergence.map(|one| one.drawn)),
                method.cost.generated_tokens,
                method.cost.scored_tokens,
                method.cost.seconds
            );
        }
        page.push_str("</table></div>\n");
    }

    fn tradeoffs(&self, page: &mut String) {
        let points = |x: &dyn Fn(&MethodReport) -> f64| -> Vec<(String, [f64; 2])> {
            let point = |method: &MethodReport| Some((method.name.clone(), [x(method), method.score?.mean]));
            self.methods.iter().filter_map(point).collect()
        };
        let distance =
            points(&|method| method.divergence.map_or(0.0, |one| one.drawn.mean.max(0.0) + one.choosing));
        if distance.is_empty() {
            return;
        }
        page.push_str("<h2>Effect against distance</h2>\n<p>The sum of both distances from the base.</p>\n");
        let names = ["nats from the base, at most", "mean score"];
        page.push_str(&labelled("Mean score against distance from the base", names, &distance));
        page.push_str("<h2>Effect against cost</h2>\n");
        let cost = points(&|method| method.cost.seconds / self.prompts.max(1) as f64);
        page.push_str(&labelled("Mean score against time", ["seconds for a reply", "mean score"], &cost));
    }

    fn checked(&self, page: &mut String) {
        let Some(first) = self.methods.first().filter(|method| !method.checks.is_empty()) else { return };
        page.push_str(
            "<h2>What a program can check</h2>\n<p>How often replies keep a principle, as far as a program can \
             tell: no reward model has a part in it. Lines are 95% intervals.</p>\n<p class=\"soft\">",
        );
        for (place, method) in self.methods.iter().enumerate() {
            let _ = write!(page, "<span class=\"key k{}\"></span>{}", place + 1, escaped(&method.name));
        }
        page.push_str("</p>\n");
        let row = |(place, check): (usize, &super::CheckReport)| {
            let bar = |method: &MethodReport| Bar::of_rate(&method.name, method.checks[place].rate);
            (check.principle.clone(), self.methods.iter().map(bar).collect::<Vec<_>>())
        };
        let rows: Vec<(String, Vec<Bar>)> = first.checks.iter().enumerate().map(row).collect();
        page.push_str(&bars("How often principles are kept", &rows, 1.0, None));
    }

    fn texts(&self, page: &mut String) {
        page.push_str("<h2>Replies</h2>\n");
        for prompt in self.replies.iter().take(SHOWN) {
            let _ = write!(
                page,
                "<h3>{}</h3>\n<div class=\"wide\"><table class=\"texts\"><tr><th>method</th><th>score</th>\
                 <th>reply</th></tr>\n",
                escaped(&prompt.prompt)
            );
            for (method, reply) in self.methods.iter().zip(&prompt.replies) {
                let score = reply.score.map_or("-".to_owned(), |score| format!("{score:.2}"));
                let lines: Vec<String> = reply.text.trim().lines().map(escaped).collect();
                let _ = writeln!(
                    page,
                    "<tr><td>{}</td><td>{score}</td><td>{}</td></tr>",
                    escaped(&method.name),
                    lines.join("<br>")
                );
            }
            page.push_str("</table></div>\n");
        }
        if self.replies.len() > SHOWN {
            let _ = writeln!(
                page,
                "<p class=\"soft\">{} more prompts are in the JSON.</p>",
                self.replies.len() - SHOWN
            );
        }
    }
}
