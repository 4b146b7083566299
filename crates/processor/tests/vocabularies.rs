//! Vocabularies of many kinds give the ids and texts that the slow `LlamaTokenizer` gives
//! (`fixtures/make_vocabularies.py`), and damaged ones give errors.

use std::fs;
use std::path::{Path, PathBuf};

use cumo_bundle::TokenizerKind;
use cumo_processor::{Error, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vocabularies")
}

fn open(name: &str) -> Tokenizer {
    Tokenizer::open(&folder().join(name)).unwrap()
}

fn mistral() -> Tokenizer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens/tokenizer.model");
    Tokenizer::open(&path).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value["ids"].clone()).unwrap()
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let (mut stream, mut text) = (tokenizer.stream(), String::new());
    ids.iter().for_each(|&id| text += &stream.push(id).unwrap());
    text + &stream.finish()
}

#[test]
fn every_kind_has_the_ids_and_texts_of_the_original() {
    let json: Value =
        serde_json::from_slice(&fs::read(folder().join("expected.json")).unwrap()).unwrap();
    let kinds = json.as_object().unwrap();
    assert_eq!(kinds.len(), 10);
    for (name, expected) in kinds {
        let tokenizer = open(name);
        for case in expected["texts"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text).unwrap(), ids(case), "{name} {text:?}");
            assert_eq!(tokenizer.decode(&ids(case)).unwrap(), case["decoded"], "{name} {text:?}");
            assert_eq!(streamed(&tokenizer, &ids(case)), case["decoded"], "{name} {text:?}");
        }
        for case in expected["lists"].as_array().unwrap() {
            assert_eq!(tokenizer.decode(&ids(case)).unwrap(), case["decoded"], "{name} {case}");
        }
    }
}

#[test]
fn special_ids_come_from_the_file() {
    let tokenizer = open("other_ids.model");
    assert_eq!(tokenizer.kind(), TokenizerKind::SentencePiece);
    let special = (tokenizer.unk_id(), tokenizer.bos_id(), tokenizer.eos_id());
    assert_eq!(special, (Some(5), Some(2), Some(0)));
    assert_eq!(tokenizer.id_to_piece(2), Some("<s>"));
    assert_eq!(tokenizer.id_to_piece(1), Some("<pad>"));
    assert_eq!(tokenizer.id_to_piece(tokenizer.vocab_size() as u32), None);
    let json = open("plain.json");
    assert_eq!(json.kind(), TokenizerKind::HuggingFace);
    assert_eq!((json.bos_id(), json.eos_id()), (Some(1), Some(2)));
    assert_eq!(json.vocab_size(), open("plain.model").vocab_size());
}

#[test]
fn a_unigram_model_is_refused_by_name() {
    let path = folder().join("unigram.model");
    let error = Tokenizer::open(&path).unwrap_err().to_string();
    let want = "SentencePiece model not supported: it is of type unigram, not BPE";
    assert_eq!(error, format!("{}: {want}", path.display()));
}

#[test]
fn files_that_are_no_vocabulary_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, want) in [
        ("tokenizer.model", &b"hello, this is text"[..], "not a usable SentencePiece model: "),
        ("empty.model", b"", "not a usable SentencePiece model: it has no pieces"),
        ("tokenizer.json", b"{\"version\": 1}", "not a usable tokenizer.json: "),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = Tokenizer::open(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: {want}", path.display())), "{error}");
    }
    let error = Tokenizer::open(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("not a regular file"), "{error}");
}

#[test]
fn a_model_of_absurdly_many_pieces_is_refused_before_it_takes_memory() {
    let pieces = [0x0a, 0].repeat(9 << 20);
    let error = Tokenizer::from_bytes(&pieces, TokenizerKind::SentencePiece).unwrap_err();
    let want = "not a usable SentencePiece model: 18874368 bytes, at most 16777216 are read";
    assert_eq!(error.to_string(), want);
}

#[test]
fn a_score_that_is_no_number_is_named_with_its_piece() {
    let mut bytes = fs::read(folder().join("plain.model")).unwrap();
    // The first piece: its length, `<unk>` as field 1, and a score as field 2.
    assert_eq!(bytes[..9], *b"\x0a\x0e\x0a\x05<unk>");
    assert_eq!(bytes[9], 0x15);
    bytes[10..14].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = Tokenizer::from_bytes(&bytes, TokenizerKind::SentencePiece).unwrap_err();
    assert!(error.to_string().contains("piece 0, \"<unk>\", has a score"), "{error}");
}

#[test]
fn an_id_outside_the_vocabulary_is_an_error() {
    for tokenizer in [mistral(), open("plain.json")] {
        let id = tokenizer.vocab_size() as u32;
        let error = tokenizer.decode(&[3, id]).unwrap_err();
        assert_eq!(error.to_string(), format!("id {id} is outside the vocabulary of {id} tokens"));
        let mut stream = tokenizer.stream();
        assert!(matches!(stream.push(u32::MAX), Err(Error::UnknownId { .. })));
    }
}

#[test]
fn a_hundred_kilobytes_take_less_than_quadratic_time() {
    let tokenizer = mistral();
    // One merge queue, one word without a space, and special pieces that never come to an end.
    for text in ["the quick brown fox. ", "a", "<s", "<s>", "é", "\u{fffd}🦀"] {
        let time = |bytes: usize| {
            let text = text.repeat(bytes / text.len());
            let start = std::time::Instant::now();
            assert!(!tokenizer.encode(&text).unwrap().is_empty());
            start.elapsed()
        };
        time(1_000);
        let (small, large) = (time(12_500), time(100_000));
        // 8 times the text: 64 times the time would be quadratic. Short times vary.
        assert!(
            large < small * 40 + std::time::Duration::from_millis(50),
            "{text}: {small:?} {large:?}"
        );
    }
}

/// A `tokenizer.json` with another part in place of one of its own.
fn with_part(part: &str, value: Value) -> Vec<u8> {
    let text = fs::read(folder().join("plain.json")).unwrap();
    let mut json: Value = serde_json::from_slice(&text).unwrap();
    json[part] = value;
    serde_json::to_vec(&json).unwrap()
}

#[test]
fn a_tokenizer_json_with_a_part_that_is_not_json_says_where() {
    let text = fs::read(folder().join("plain.json")).unwrap();
    let decoder = text.windows(9).position(|part| part == b"\"decoder\"").unwrap();
    let mut broken = text.clone();
    broken[decoder + 11] = b'x';
    let opened = Tokenizer::from_bytes(&broken, TokenizerKind::HuggingFace);
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("at line 1 column"), "{error}");
}

#[test]
fn a_template_that_asks_for_what_it_does_not_have_is_told() {
    let open = |single: Value, nested: bool| {
        let template = json!({
            "type": "TemplateProcessing", "single": single, "pair": [],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } },
        });
        let sequence = json!({ "type": "Sequence", "processors": [template] });
        let part = if nested { sequence } else { template };
        let bytes = with_part("post_processor", part);
        Tokenizer::from_bytes(&bytes, TokenizerKind::HuggingFace)
    };
    let special = |id: &str| json!({ "SpecialToken": { "id": id, "type_id": 0 } });
    let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    for nested in [false, true] {
        let error = open(json!([special("nope"), text("A")]), nested).unwrap_err().to_string();
        assert!(error.contains("asks for `nope`, which special_tokens lacks"), "{error}");
        let error = open(json!([text("A"), text("B")]), nested).unwrap_err().to_string();
        assert!(error.contains("asks for a second one"), "{error}");
        let good = open(json!([special("<s>"), text("A")]), nested).unwrap();
        assert_eq!(good.encode("").unwrap(), [1]);
    }
}

#[test]
fn a_normalizer_that_asks_for_gigabytes_is_refused() {
    // Its map says that it has 2^32 - 1 bytes.
    let map = json!({ "type": "Precompiled", "precompiled_charsmap": "/////w==" });
    for normalizer in [map.clone(), json!({ "type": "Sequence", "normalizers": [map] })] {
        let bytes = with_part("normalizer", normalizer);
        let error = Tokenizer::from_bytes(&bytes, TokenizerKind::HuggingFace).unwrap_err();
        assert!(error.to_string().contains("`Precompiled` normalizer"), "{error}");
    }
}

proptest! {
    #[test]
    fn streaming_gives_what_decoding_gives(ids in prop::collection::vec(0u32..32_000, 0..40)) {
        let tokenizer = mistral_once();
        prop_assert_eq!(streamed(tokenizer, &ids), tokenizer.decode(&ids).unwrap());
    }

    #[test]
    fn bytes_too(ids in prop::collection::vec(prop_oneof![3u32..259, Just(28_705), Just(1)], 0..40)) {
        let tokenizer = mistral_once();
        prop_assert_eq!(streamed(tokenizer, &ids), tokenizer.decode(&ids).unwrap());
    }

    #[test]
    fn text_without_special_pieces_comes_back(text in "[^<▁]*") {
        let tokenizer = mistral_once();
        let ids = tokenizer.encode(&text).unwrap();
        // The slow tokenizer takes one space more away than it puts there.
        prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text.strip_prefix(' ').unwrap_or(&text));
    }

    #[test]
    fn a_changed_vocabulary_never_panics(
        name in prop::sample::select(vec!["plain.model", "charsmap.model", "user_defined.model", "unused.model"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        text in ".*",
    ) {
        let mut bytes = fs::read(folder().join(name)).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        use_all(&bytes, TokenizerKind::SentencePiece, &text);
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".*") {
        use_all(&bytes, TokenizerKind::SentencePiece, &text);
    }

    #[test]
    fn a_cut_vocabulary_never_panics(cut in any::<prop::sample::Index>()) {
        let bytes = fs::read(folder().join("plain.model")).unwrap();
        use_all(&bytes[..cut.index(bytes.len())], TokenizerKind::SentencePiece, "a b");
    }
}

fn mistral_once() -> &'static Tokenizer {
    static TOKENIZER: std::sync::OnceLock<Tokenizer> = std::sync::OnceLock::new();
    TOKENIZER.get_or_init(mistral)
}

/// Whatever can be opened can also be used.
fn use_all(bytes: &[u8], kind: TokenizerKind, text: &str) {
    let Ok(tokenizer) = Tokenizer::from_bytes(bytes, kind) else { return };
    let ids = tokenizer.encode(text).unwrap();
    let decoded = tokenizer.decode(&ids).unwrap();
    assert_eq!(streamed(&tokenizer, &ids), decoded);
}
