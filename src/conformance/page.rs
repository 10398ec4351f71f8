//! Reports of several devices as one page.

use std::fmt::Write;

use super::report::{DeviceReport, compare};
use crate::report::{PAGE_END, escaped, page_of};

const TITLE: &str = "Devices side by side";

/// A row of facts: its name, and its text for a report.
type Fact = (&'static str, fn(&DeviceReport) -> String);

const FACTS: &[Fact] = &[
    ("driver", |one| one.device.driver.clone()),
    ("back end", |one| one.device.backend.clone()),
    ("kind", |one| one.device.kind.clone()),
    ("Parr", |one| one.parr.clone()),
    ("kernels", |one| format!("{}, weights in {}", one.kernels, one.loads)),
    ("subgroups", |one| {
        let (least, most) = one.device.subgroup_sizes;
        if one.device.subgroups { format!("{least} to {most} lanes") } else { "no".to_owned() }
    }),
    ("f16 arithmetic", |one| yes_no(one.device.f16)),
    ("timestamps", |one| yes_no(one.device.timestamps)),
    ("largest binding", |one| format!("{} MiB", one.device.max_binding_bytes >> 20)),
    ("largest buffer", |one| format!("{} MiB", one.device.max_buffer_bytes >> 20)),
    ("workgroup memory", |one| format!("{} KiB", one.device.max_workgroup_bytes >> 10)),
    ("workgroup lanes", |one| one.device.max_workgroup_lanes.to_string()),
    ("multiply and add", |one| rate(one.rates.map(|rates| rates.flops_per_second / 1e9), "GFLOP/s")),
    ("read", |one| rate(one.rates.map(|rates| rates.read_bytes_per_second / 1e9), "GB/s")),
    ("refused kernels", |one| one.refused_kernels.len().to_string()),
    ("checks", |one| {
        format!("{} of {} passed", one.checks.len().saturating_sub(one.failed), one.checks.len())
    }),
];

fn yes_no(has: bool) -> String {
    if has { "yes" } else { "no" }.to_owned()
}

fn rate(value: Option<f64>, unit: &str) -> String {
    value.map_or("not measured".to_owned(), |value| format!("{value:.1} {unit}"))
}

/// `reports` as one self-contained HTML page, without scripts, fonts or links to other sites.
pub fn to_html(reports: &[DeviceReport]) -> String {
    let mut page = page_of(TITLE);
    let _ = write!(
        page,
        "<h1>{TITLE}</h1>\n<p>Every kernel is compared with plain CPU loops, in every storage format and on odd \
         shapes. The number behind the comma is the largest normalised mean square error.</p>\n"
    );
    let names = reports.iter().map(|report| escaped(&report.device.name));
    let heads: String = names.map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    let _ = write!(page, "<div class=\"wide\"><table>\n<tr><th></th>{heads}</tr>\n");
    for (name, text) in FACTS {
        let cells: String =
            reports.iter().map(|report| format!("<td>{}</td>", escaped(&text(report)))).collect();
        let _ = writeln!(page, "<tr><th scope=\"row\">{name}</th>{cells}</tr>");
    }
    let _ = write!(
        page,
        "</table></div>\n<h2>Checks by kernel</h2>\n<div class=\"wide\"><table>\n<tr><th scope=\"col\">op</th>\
         <th scope=\"col\">family</th>{heads}</tr>\n"
    );
    for row in compare(reports) {
        let cell = |result: &Option<super::report::OpResult>| match result {
            None => "<td>-</td>".to_owned(),
            Some(result) if result.passed == result.of => format!("<td>{result}</td>"),
            Some(result) => format!("<td><strong>{result}</strong></td>"),
        };
        let cells: String = row.results.iter().map(cell).collect();
        let (op, family) = (escaped(&row.op), escaped(&row.family));
        let _ = writeln!(page, "<tr><th scope=\"row\">{op}</th><td>{family}</td>{cells}</tr>");
    }
    page.push_str("</table></div>\n");
    faults(&mut page, reports);
    page.push_str(PAGE_END);
    page
}

fn faults(page: &mut String, reports: &[DeviceReport]) {
    if reports.iter().all(|report| report.failed == 0) {
        return;
    }
    page.push_str("<h2>Failed checks</h2>\n<div class=\"wide\"><table class=\"texts\">\n");
    page.push_str("<tr><th>device</th><th>kernels</th><th>variant</th><th>first fault</th></tr>\n");
    for report in reports {
        for check in report.checks.iter().filter(|check| !check.passed) {
            let cells = [&report.device.name, &check.kernels, &check.variant, &check.note];
            let cells: String = cells.map(|text| format!("<td>{}</td>", escaped(text))).concat();
            let _ = writeln!(page, "<tr>{cells}</tr>");
        }
    }
    page.push_str("</table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn a_failed_check_is_named_and_text_from_files_is_escaped() {
        let one = report("one <b>", &[("linear", "lane8", 1e-14, true)]);
        let two = report("two", &[("linear", "lane8", 1.0, false)]);
        let page = to_html(&[one, two]);
        assert!(page.contains("one &lt;b&gt;") && !page.contains("one <b>"));
        assert!(page.contains("<strong>0 of 1, 1.0e0</strong>") && page.contains("element 1 is &lt;NaN&gt;"));
        assert!(page.contains("20.0 GFLOP/s") && page.ends_with(PAGE_END));
        let sound = to_html(&[report("three", &[("glu", "tiled", 0.0, true)])]);
        assert!(!sound.contains("Failed checks"));
    }
}
