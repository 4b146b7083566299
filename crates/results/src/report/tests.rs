use proptest::prelude::*;

use super::*;
use crate::schema::{Answer, FirstToken};
use crate::testing;

/// The page of results without names.
fn page(results: &[BenchResult]) -> String {
    to_html(&results.iter().map(|result| (String::new(), result.clone())).collect::<Vec<_>>())
}

#[test]
fn a_page_has_every_plot_and_table_and_asks_for_nothing() {
    let mut other = testing::result();
    other.environment.board = None;
    let page = page(&[testing::result(), other]);
    assert_eq!(
        page.matches("<svg ").count(),
        6,
        "stages, their shares, tokens, depths and two maps of experts"
    );
    for part in ["Time to first token", "prefill", "residual", "Side by side", "expert 3", "Orin"] {
        assert!(page.contains(part), "no `{part}`");
    }
    for asked in ["http://", "https://", "<script", "src=", "url(", "@import", "href="] {
        assert!(!page.contains(asked), "{asked}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf\""));
}

/// Every piece of text of a result, replaced.
fn with_text_everywhere(text: &str) -> BenchResult {
    fn replace(value: &mut serde_json::Value, key: &str, text: &str) {
        match value {
            serde_json::Value::String(old) if !key.starts_with("format") => *old = text.to_owned(),
            serde_json::Value::Array(list) => list.iter_mut().for_each(|v| replace(v, key, text)),
            serde_json::Value::Object(map) => {
                map.iter_mut().for_each(|(key, value)| replace(value, key, text));
            }
            _ => {}
        }
    }
    let mut value = serde_json::to_value(testing::result()).unwrap();
    replace(&mut value, "", text);
    serde_json::from_value(value).unwrap()
}

#[test]
fn text_of_a_file_stays_text() {
    let hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;";
    let page = page(&[with_text_everywhere(hostile), testing::result()]);
    assert!(page.contains("&lt;script&gt;alert(1)"), "the name is shown");
    for tag in ["<script", "<img", "\"'>", "onerror=alert(1)>"] {
        assert!(!page.contains(tag), "{tag}");
    }
}

#[test]
fn a_page_of_nothing_and_of_results_without_samples_is_whole() {
    for results in [vec![], vec![BenchResult::default()], vec![BenchResult::default(); 3]] {
        let page = page(&results);
        assert!(page.ends_with("</html>\n") && !page.contains("<svg"), "{page}");
    }
}

#[test]
fn doubts_stand_at_the_top() {
    let mut result = testing::result();
    result.environment.build.profile = "debug".to_owned();
    let page = page(&[testing::result(), result]);
    let warning = page.find("was measured with a debug build").unwrap();
    assert!(warning < page.find("<svg").unwrap());
}

/// An attribute of every element of a class, in the page's order.
fn numbers(svg: &str, class: &str, attribute: &str) -> Vec<f64> {
    let of_class = |line: &&str| line.contains(&format!(" class=\"{class}\""));
    let number = |line: &str| {
        let value = line.split(&format!(" {attribute}=\"")).nth(1)?.split('"').next()?;
        value.parse().ok()
    };
    svg.lines().filter(of_class).filter_map(number).collect()
}

/// A result whose answers take so many milliseconds in the tower and in the prompt.
fn of_stages(vision: u64, prefill: u64) -> BenchResult {
    let first_token = FirstToken {
        total_ns: (vision + prefill) * 1_000_000,
        vision_ns: Some(vision * 1_000_000),
        prefill_ns: Some(prefill * 1_000_000),
        ..FirstToken::default()
    };
    let answers = vec![Answer { first_token, inter_token_ns: Vec::new() }];
    BenchResult { answers, ..BenchResult::default() }
}

fn near(found: f64, expected: f64) -> bool {
    // Places are written with one digit behind the point.
    (found - expected).abs() < 0.11
}

#[test]
fn stages_are_stacked_and_as_long_as_their_times() {
    let results = [of_stages(300, 100), of_stages(30, 10)].map(|result| (String::new(), result));
    let labels = ["a", "b"].map(str::to_owned);
    let svg = stages::plot(&results, &labels).unwrap();
    let stage = |name: &str| {
        let parts = FirstToken::default().parts();
        let class = format!("stage{}", parts.iter().position(|(part, _)| *part == name).unwrap());
        // The first of a class is its box in the legend.
        let of = |attribute: &str| numbers(&svg, &class, attribute)[1..].to_vec();
        (of("x"), of("width"))
    };
    let ((vision_x, vision), (prefill_x, prefill)) = (stage("vision"), stage("prefill"));
    // The axis ends at 400 ms, 90 from the right.
    let each = (svg::WIDTH - 90.0) / 400.0;
    for (found, expected) in vision.iter().zip([300.0, 30.0]) {
        assert!(near(*found, each * expected), "{svg}");
    }
    for (found, expected) in prefill.iter().zip([100.0, 10.0]) {
        assert!(near(*found, each * expected), "{svg}");
    }
    for index in 0..2 {
        assert!(near(vision_x[index], 0.0) && near(prefill_x[index], vision[index]), "{svg}");
    }

    let shares = stages::shares(&results, &labels).unwrap();
    let widths = |class: &str| numbers(&shares, class, "width")[1..].to_vec();
    let whole = svg::WIDTH - 90.0;
    assert!(widths("stage3").iter().all(|width| near(*width, 0.75 * whole)), "{shares}");
    assert!(widths("stage6").iter().all(|width| near(*width, 0.25 * whole)), "{shares}");
    assert!(shares.contains(">75 %<") && shares.contains(">40.00 ms<"), "{shares}");
}

#[test]
fn lines_over_the_context_are_rates_and_not_times() {
    let mut result = testing::result();
    for (row, ms) in result.generation.iter_mut().zip([10_u64, 20]) {
        row.repetitions_inter_token_ns = vec![vec![ms * 1_000_000; 4]; 3];
    }
    let svg = depth::plot(&[(String::new(), result)], &["a".to_owned()]).unwrap();
    let heights = numbers(&svg, "s0", "cy");
    let axis = numbers(&svg, "axis", "y1")[0];
    assert_eq!(heights.len(), 2, "{svg}");
    // 100 tokens a second stand twice as high as 50.
    assert!(near(axis - heights[0], 2.0 * (axis - heights[1])), "{svg}");
    assert!(svg.contains("a: 100.00 tokens a second at depth 0"), "{svg}");
    assert!(svg.contains("a: 50.00 tokens a second at depth 1024"), "{svg}");
}

#[test]
fn the_full_line_of_a_histogram_is_the_median_and_the_dashed_one_the_99th_percentile() {
    let mut result = testing::result();
    result.generation.truncate(1);
    result.generation[0].tokens = 101;
    // 100 to 200 ms: p50 is 150, p99 is 199.
    result.generation[0].repetitions_inter_token_ns =
        vec![(100..=200_u64).map(|ms| ms * 1_000_000).collect()];
    let svg = distribution::plot(&[(String::new(), result)], &["a".to_owned()]).unwrap();
    let scale = scale::Scale::between(100e6, 200e6, [0.0, svg::WIDTH]);
    let marks = |class: &str| numbers(&svg, class, "x1");
    assert!(near(marks("mark")[0], scale.at(150e6)), "{svg}");
    assert!(near(marks("mark dashed")[0], scale.at(199e6)), "{svg}");
    assert!(svg.contains("p50 150.0   p99 199.0   max 200.0 ms   n 101"), "{svg}");
}

#[test]
fn what_all_labels_begin_with_stands_once_above_them() {
    let shared = |labels: &[&str]| {
        without_shared(&labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>())
    };
    let owned = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    assert_eq!(
        shared(&["A card, 7b, onnx", "A card, 7b, ort-cpu"]),
        (Some("A card, 7b".to_owned()), owned(&["onnx", "ort-cpu"]))
    );
    assert_eq!(shared(&["A", "A, x"]), (None, owned(&["A", "A, x"])));
    assert_eq!(shared(&["A, x", "B, x"]), (None, owned(&["A, x", "B, x"])));
    assert_eq!(shared(&["A, x"]), (Some("A".to_owned()), owned(&["x"])));
    assert_eq!(shared(&[]), (None, Vec::new()));
    let mut other = testing::result();
    other.environment.power_mode = Some("15W".to_owned());
    let page = page(&[testing::result(), other]);
    let board = "NVIDIA Jetson Orin Nano Developer Kit";
    assert!(page.contains(&format!("2 results of {board}; made by")), "{page}");
    assert!(page.contains("<summary>15W</summary>"), "{page}");
}

proptest! {
    #[test]
    fn tags_are_as_many_whatever_the_text_is(text in any::<String>()) {
        let tags = |page: &str| page.matches('<').count();
        let plain = page(&[with_text_everywhere("x")]);
        // Rows without text are left out.
        let page = page(&[with_text_everywhere(&format!("x{text}"))]);
        prop_assert_eq!(tags(&page), tags(&plain));
    }

    #[test]
    fn any_times_can_be_drawn(times in prop::collection::vec(1..1_000_000_000_000_000_u64, 4)) {
        let mut result = testing::result();
        result.generation[0].repetitions_inter_token_ns = vec![times.clone(); 2];
        result.answers[0].first_token.total_ns = times[0];
        result.answers[1].first_token.vision_ns = Some(times[1]);
        result.generation[1].depth_tokens = times[2] >> 10;
        let page = page(&[result]);
        prop_assert!(!page.contains("NaN") && !page.contains("inf\""));
    }
}
