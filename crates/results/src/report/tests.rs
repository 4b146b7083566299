use proptest::prelude::*;

use super::*;
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
    assert_eq!(page.matches("<svg ").count(), 5, "stages, tokens, depths and two maps of experts");
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
