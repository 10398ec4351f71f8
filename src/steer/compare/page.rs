//! The comparison as a page.

use std::fmt::Write;

use super::{CheckReport, ComparisonReport, Mean, MethodReport};
use crate::report::{Bar, PAGE_END, bars, escaped, labelled, page_of};

const TITLE: &str = "Methods of steering compared";
/// Number of prompts whose replies are on the page. The JSON report has all of them.
const SHOWN: usize = 20;

impl ComparisonReport {
    /// The report as one self-contained HTML page, without scripts, fonts or links to other sites.
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
             {}; {} candidates, blocks of {} tokens; principles in the prompt of the searches: {}.</p>\n",
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

    /// Writes effect, distance from the base, and cost of each method.
    pub(crate) fn methods(&self, page: &mut String) {
        self.figures(page);
        self.tradeoffs(page);
        self.checked(page);
    }

    fn figures(&self, page: &mut String) {
        page.push_str(
            "<h2>Figures by method</h2>\n<p>Score: mean score of the replies under the whole list, with its standard \
             error. The searches choose with the same reward model, so their scores are not independent. Better: \
             replies that score higher than the base's reply to the same prompt. Distance from the base, in nats per \
             reply, has two parts: the change of the model that replies are sampled from, and an upper bound of what \
             the choice among candidates adds. Distinct pairs: share of distinct pairs among the pairs of \
             neighbouring tokens in the first 64 tokens of each reply. It is far below the base's if replies repeat \
             themselves.",
        );
        if !self.plain_sampling {
            page.push_str(
                " Replies were sampled greedily or with filters, so the distances are differences of \
                 log-probabilities, not estimates of a KL divergence.",
            );
        }
        page.push_str(
            "</p>\n<div class=\"wide\"><table><tr><th>method</th><th>score</th><th>better</th><th>tokens</th>\
             <th>distinct pairs</th><th>distance, sampling</th><th>distance, choice (at most)</th><th>generated tokens</th>\
             <th>scored tokens</th>\
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
        let names = ["distance, at most, in nats per reply", "mean score"];
        page.push_str(&labelled("Mean score against distance from the base", names, &distance));
        page.push_str("<h2>Effect against cost</h2>\n");
        let cost = points(&|method| method.cost.seconds / self.prompts.max(1) as f64);
        page.push_str(&labelled("Mean score against time", ["seconds per reply", "mean score"], &cost));
    }

    fn checked(&self, page: &mut String) {
        page.push_str(&self.rates(
            "Principles that a program checks",
            "How often replies follow a principle, according to a program. This measure does not depend on the \
             reward model. Lines are 95% intervals.",
            |method| &method.checks,
        ));
        page.push_str(&self.rates(
            "Principles as the reward model reads them",
            "How often the reward model reads that a reply keeps a principle. Methods that choose or learn by this \
             reward model are better at it by construction. Lines are 95% intervals.",
            |method| &method.kept,
        ));
    }

    /// A chart with the rates of each method by principle. Empty if there are none.
    fn rates(&self, title: &str, text: &str, of: fn(&MethodReport) -> &Vec<CheckReport>) -> String {
        let Some(first) = self.methods.first().map(of).filter(|rates| !rates.is_empty()) else {
            return String::new();
        };
        let mut page = format!("<h2>{title}</h2>\n<p>{text}</p>\n<p class=\"soft\">");
        for (place, method) in self.methods.iter().enumerate() {
            let _ = write!(page, "<span class=\"key k{}\"></span>{}", place + 1, escaped(&method.name));
        }
        page.push_str("</p>\n");
        let row = |(place, check): (usize, &CheckReport)| {
            let rate = |method: &MethodReport| {
                let rate = of(method).get(place)?.rate;
                Some(Bar::of_rate(&method.name, rate))
            };
            (check.principle.clone(), self.methods.iter().filter_map(rate).collect::<Vec<_>>())
        };
        let rows: Vec<(String, Vec<Bar>)> = first.iter().enumerate().map(row).collect();
        page.push_str(&bars("How often replies follow a principle", &rows, 1.0, None));
        page
    }

    fn texts(&self, page: &mut String) {
        page.push_str("<h2>Replies</h2>\n");
        for prompt in self.replies.iter().take(SHOWN) {
            let _ = write!(
                page,
                "<h3>{}</h3>\n<div class=\"wide\"><table class=\"texts\"><tr><th>method</th><th class=\"number\">score</th>\
                 <th>reply</th></tr>\n",
                escaped(&prompt.prompt)
            );
            for (method, reply) in self.methods.iter().zip(&prompt.replies) {
                let score = reply.score.map_or("-".to_owned(), |score| format!("{score:.2}"));
                let lines: Vec<String> = reply.text.trim().lines().map(escaped).collect();
                let _ = writeln!(
                    page,
                    "<tr><td>{}</td><td class=\"number\">{score}</td><td>{}</td></tr>",
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
