//! Results as one HTML page: plots and tables, nothing from elsewhere, no scripts.

mod depth;
mod distribution;
mod experts;
mod scale;
mod stages;
mod svg;

use crate::compare::{SideBySide, reservations};
use crate::render::escape::html;
use crate::render::label::labels;
use crate::render::number::tick;
use crate::render::sections;
use crate::render::table::Table;
use crate::schema::BenchResult;

/// Colours of results; further ones begin anew.
const SERIES: usize = 8;

const STYLE: &str = include_str!("style.css");

/// The page of named results, in their order. Text from the files is shown as text, whatever it is.
pub fn to_html(results: &[(String, BenchResult)]) -> String {
    let (shared, labels) = without_shared(&labels(results));
    let mut body = heading(results, shared.as_deref());
    body += &warnings(results, &labels);
    body += &figure(
        "Time to first token",
        stages::plot(results, &labels),
        "From the request, which names image files, to the first token: the mean of all repetitions, by stage. Grey at the end is what no stage covers.",
    );
    if results.len() > 1 {
        body += &figure(
            "Shares of the time to first token",
            stages::shares(results, &labels),
            "The same, each bar as long as the others: the share of each stage, and behind the bar the whole.",
        );
    }
    body += &figure(
        "Inter-token latency",
        distribution::plot(results, &labels),
        "The time from token to token over all repetitions, for each context depth. The full line is the median, the dashed one the 99th percentile. Each histogram is as tall as its fullest bin.",
    );
    body += &figure(
        "Throughput over context",
        depth::plot(results, &labels),
        "Tokens generated a second, by the positions that were in the cache before. Bars are the 95 % interval of the mean over repetitions.",
    );
    if results.len() > 1 {
        body += "<h2>Side by side</h2>\n";
        body += &SideBySide::of(results).to_html();
    }
    body += "<h2>Each result</h2>\n";
    for ((_, result), label) in results.iter().zip(&labels) {
        body += &details(result, label, results.len() == 1);
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>cumo bench</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// What all labels begin with, whole words between commas alone, and the labels without it: names are
/// cut where there is no room, which is not to be where they differ.
fn without_shared(labels: &[String]) -> (Option<String>, Vec<String>) {
    let parts: Vec<Vec<&str>> = labels.iter().map(|label| label.split(", ").collect()).collect();
    let least = parts.iter().map(Vec::len).min().unwrap_or(0);
    let is_shared = |index: &usize| parts.iter().all(|part| part[*index] == parts[0][*index]);
    // Something is left of each.
    let shared = (0..least.saturating_sub(1)).take_while(is_shared).count();
    let all = parts.first().filter(|_| shared > 0).map(|first| first[..shared].join(", "));
    (all, parts.iter().map(|parts| parts[shared..].join(", ")).collect())
}

fn heading(results: &[(String, BenchResult)], shared: Option<&str>) -> String {
    let mut models: Vec<&str> = results.iter().map(|(_, result)| &*result.model.name).collect();
    models.sort_unstable();
    models.dedup();
    let count = match results.len() {
        1 => "1 result".to_owned(),
        count => format!("{count} results"),
    };
    let shared = shared.map(|shared| format!(" of {}", html(shared))).unwrap_or_default();
    format!(
        "<h1>cumo bench: {}</h1>\n<p class=\"dim\">{count}{shared}; made by cumo-results {}</p>\n",
        html(&models.join(", ")),
        env!("CARGO_PKG_VERSION")
    )
}

/// What a reader of the numbers should know first.
fn warnings(results: &[(String, BenchResult)], labels: &[String]) -> String {
    let warnings = reservations(results, labels);
    if warnings.is_empty() {
        return String::new();
    }
    let items: String =
        warnings.iter().map(|warning| format!("<li>{}</li>\n", html(warning))).collect();
    format!("<ul class=\"warnings\">\n{items}</ul>\n")
}

fn figure(title: &str, plot: Option<String>, caption: &str) -> String {
    let Some(plot) = plot else { return String::new() };
    format!("<h2>{title}</h2>\n<figure>\n{plot}<figcaption>{caption}</figcaption>\n</figure>\n")
}

/// All tables of a result, and its experts.
fn details(result: &BenchResult, label: &str, open: bool) -> String {
    let tables: String = sections(result).iter().map(Table::to_html).collect();
    let experts = experts::plot(result).map_or_else(String::new, |plot| {
        format!(
            "<figure>\n{plot}<figcaption>Share of the tokens that each expert was sent: blank is none, full colour twice an even share and more.</figcaption>\n</figure>\n"
        )
    });
    let open = if open { " open" } else { "" };
    format!("<details{open}>\n<summary>{}</summary>\n{tables}{experts}</details>\n", html(label))
}

#[cfg(test)]
mod tests;
