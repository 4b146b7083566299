//! Files of weights that are refused, and why.

use std::path::Path;

use crate::fixture::torch_file::{TorchTensor, archive, archive_of, entries, pickle, zip, zip64};
use crate::fixture::*;

/// The message with which a checkpoint whose weights are `bytes` in the file `name` is refused.
fn refused(name: &str, bytes: &[u8]) -> String {
    let dir = Form::default().spec().write_config();
    std::fs::write(dir.path().join(name), bytes).unwrap();
    let text = message(&open(dir.path()).unwrap_err());
    assert_all(&text, &[name]);
    text
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(vec![0; data]);
    bytes
}

#[test]
fn malformed_safetensors() {
    let refused = |bytes: &[u8], part| assert_all(&refused("model.safetensors", bytes), &[part]);
    let f16 = |name: &str, shape: &str, start, end| {
        format!(r#""{name}":{{"dtype":"F16","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    refused(b"", "has 0 bytes, a safetensors file begins with an 8-byte length");
    refused(&(1u64 << 60).to_le_bytes(), "claims a header of 1152921504606846976 bytes");
    refused(&u64::MAX.to_le_bytes(), "claims a header of 18446744073709551615 bytes");
    refused(&100u64.to_le_bytes(), "is truncated: its header has 100 bytes, the whole file 8");
    refused(&safetensors("{", 0), "the header is malformed");
    refused(&safetensors(r#"{"a": 3}"#, 0), "`a`: invalid type");
    refused(&safetensors(&format!("{{{}}}", f16("a", "[-1]", 0, 2)), 2), "`a`: invalid value");
    let (a, b) = (f16("a", "[2]", 0, 4), f16("b", "[2]", 2, 6));
    refused(&safetensors(&format!("{{{a},{b}}}"), 6), "tensor `b` begins at byte");
    refused(&safetensors(&format!("{{{a},{b}}}"), 6), "an overlap where a ends at");
    refused(&safetensors(&format!("{{{a},{a}}}"), 4), "`a` is there twice");
    refused(&safetensors(&format!("{{{b}}}"), 6), "a gap where the header ends at");
    refused(&safetensors(&format!("{{{a}}}"), 3), "is truncated: tensor `a` ends at byte");
    refused(&safetensors(&format!("{{{a}}}"), 5), "the last tensor ends at byte");
    let short = f16("a", "[3]", 0, 4);
    refused(
        &safetensors(&format!("{{{short}}}"), 4),
        "tensor `a` of f16 [3] cannot have the bytes 0 to 4",
    );
    let huge = f16("a", "[4294967296, 4294967296]", 0, 0);
    refused(&safetensors(&format!("{{{huge}}}"), 0), "cannot have the bytes 0 to 0");
    let far = f16("a", "[1]", u64::MAX - 1, u64::MAX).replace("[1]", "[0]");
    refused(&safetensors(&format!("{{{far}}}"), 0), "cannot have the bytes");
    let rank = f16("a", &format!("{:?}", vec![1; 1000]), 0, 2);
    refused(&safetensors(&format!("{{{rank}}}"), 2), "`a`: more than 16 dimensions");
    refused(&safetensors(&format!("{{{}}}", a.replace("F16", "F12")), 4), "unknown type `F12`");
    let long = a.replace("F16", &"F".repeat(1_000_000));
    refused(&safetensors(&format!("{{{long}}}"), 4), "FFF... (1000000 bytes)`");
    let name = f16(&"x".repeat(2000), "[2]", 0, 4);
    refused(&safetensors(&format!("{{{name}}}"), 4), "longer than 1,000 bytes");
    refused(
        &safetensors(&format!("{{{}}}", f16("\\u001b[2J", "[2]", 0, 4)), 4),
        "control characters",
    );
}

#[test]
fn truncated_anywhere_is_refused() {
    let spec = Form::default().spec();
    let dir = spec.write();
    let whole = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let torch = archive(&torch_tensors(&spec.tensors));
    for cut in 1..40 {
        for (name, whole) in [("model.safetensors", &whole), ("pytorch_model.bin", &torch)] {
            let dir = spec.write_config();
            let bytes = &whole[..whole.len() - whole.len() * cut / 40];
            std::fs::write(dir.path().join(name), bytes).unwrap();
            let text = message(&open(dir.path()).unwrap_err());
            let words = ["truncated", "no zip archive", "begins with an 8-byte"];
            assert!(words.iter().any(|word| text.contains(word)), "{text}");
        }
    }
}

fn one_tensor() -> TorchTensor {
    TorchTensor {
        name: "model.norm.weight".into(),
        storage: "HalfStorage",
        shape: vec![2, 3],
        stride: None,
        offset: 0,
        bytes: vec![0; 12],
    }
}

#[test]
fn a_pickle_that_calls_os_system_is_refused_and_nothing_runs() {
    let marker = tempfile::tempdir().unwrap().path().join("ran");
    let command = format!("touch {}", marker.display());
    let mut evil = b"\x80\x02cos\nsystem\n(X".to_vec();
    evil.extend(u32::try_from(command.len()).unwrap().to_le_bytes());
    evil.extend(command.bytes());
    evil.extend(b"tR.");
    let text = refused("pytorch_model.bin", &archive_of(evil, &[]));
    assert_all(&text, &["refers to `os.system` at byte 2", "nothing was executed"]);
    assert!(!marker.exists());
}

#[test]
fn other_operations_are_named_with_their_place() {
    let refused = |pickle: &[u8], part| {
        let text = refused("pytorch_model.bin", &archive_of(pickle.to_vec(), &[]));
        assert_all(&text, &["`data.pkl`", part]);
    };
    refused(b"\x80\x02(ios\nsystem\n.", "operation INST (0x69) at byte 3");
    refused(b"\x80\x02\x93.", "operation STACK_GLOBAL (0x93) at byte 2");
    refused(b"\x80\x02c__builtin__\neval\n.", "`__builtin__.eval` at byte 2");
    refused(b"\x80\x02ctorch\nload\n.", "`torch.load`");
    refused(b"\x80\x04.", "written in protocol 4");
    refused(b"\x80\x02}", "is truncated in the operation at byte 3");
    refused(b"\x80\x02N.", "is None, not a dict of tensors");
    refused(b"\x80\x02}X\x01\x00\x00\x00aNs.", "`a` is None, not a tensor");
    refused(b"\x80\x02}NNs.", "has None where a tensor's name should be");
    refused(b"\x80\x02h\x05.", "memo 5 is not set at byte 2");
    refused(b"\x80\x02R.", "too few values for the operation at byte 2");
    refused(b"\x80\x02N(R.", "too few values");
    refused(b"\x80\x02NNR.", "a function is needed at byte 4, there is None");
    refused(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "do not describe a tensor");
    refused(b"\x80\x02NQ.", "the persistent id at byte 3 does not name a storage");
    refused(b"\x80\x02\x8a\x09123456789.", "has more than 64 bits");
}

#[test]
fn tensors_that_do_not_fit_their_storage() {
    let refused = |tensor: TorchTensor, part| {
        assert_all(
            &refused("pytorch_model.bin", &archive(&[tensor])),
            &["model.norm.weight", part],
        );
    };
    let beyond = "lies beyond its storage of 12 bytes";
    refused(TorchTensor { shape: vec![7], ..one_tensor() }, beyond);
    refused(TorchTensor { offset: 1, ..one_tensor() }, beyond);
    let most = i32::MAX as usize;
    refused(
        TorchTensor { shape: vec![most; 4], stride: Some(vec![0; 4]), ..one_tensor() },
        "strides",
    );
    refused(TorchTensor { shape: vec![0, 2], offset: most, ..one_tensor() }, beyond);
    refused(
        TorchTensor { stride: Some(vec![1, 2]), ..one_tensor() },
        "has the strides [1, 2]; only contiguous tensors are supported",
    );
    let pickle = pickle(&[one_tensor()]);
    let entries = [("archive/data.pkl".to_owned(), pickle)];
    let text = self::refused("pytorch_model.bin", &zip(&entries));
    assert_all(&text, &["tensor `model.norm.weight`: the archive has no `data/0`"]);
    let twice = archive(&[one_tensor(), one_tensor()]);
    let text = self::refused("pytorch_model.bin", &twice);
    assert_all(&text, &["has the tensor `model.norm.weight` twice"]);
}

#[test]
fn archives_that_torch_does_not_write() {
    let refused = |bytes: &[u8], part| assert_all(&refused("pytorch_model.bin", bytes), &[part]);
    refused(b"", "it is no zip archive");
    refused(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "before version 1.6");
    refused(b"PK\x03\x04 and then nothing", "no end record");
    refused(&zip(&[("a/b".into(), vec![])]), "the archive has no `data.pkl`");
    let pickle = pickle(&[]);
    let two = [("a/data.pkl".into(), pickle.clone()), ("b/data.pkl".into(), pickle.clone())];
    refused(&zip(&two), "has both `a/data.pkl` and `b/data.pkl`");
    let same = [("a/data.pkl".into(), pickle.clone()), ("a/data.pkl".into(), pickle.clone())];
    refused(&zip(&same), "the entry `a/data.pkl` is there twice");
    let big = [("a/data.pkl".into(), pickle), ("a/byteorder".into(), b"big".to_vec())];
    refused(&zip(&big), "written on a big-endian machine");
    let mut compressed = zip(&[("a/data.pkl".into(), vec![0; 9])]);
    let central = compressed.windows(4).position(|at| at == b"PK\x01\x02").unwrap();
    compressed[central + 10] = 8;
    refused(&compressed, "`data.pkl` is compressed (method 8)");
    compressed[central + 8] = 1;
    refused(&compressed, "`data.pkl` is encrypted");
    let mut many = zip(&[("a/data.pkl".into(), vec![0; 9])]);
    let end = many.len() - 22;
    many[end + 8..end + 12].fill(0xff);
    refused(&many, "the central directory at byte");
}

fn write_index(dir: &Path, map: &str) {
    let index = format!(r#"{{"metadata": {{}}, "weight_map": {map}}}"#);
    std::fs::write(dir.join("model.safetensors.index.json"), index).unwrap();
}

#[test]
fn an_index_that_does_not_fit_its_shards() {
    let spec = Form::default().spec();
    let dir = spec.write_config();
    let one: Tensors =
        [("a".to_owned(), Raw::f16(&[1], 0)), ("b".to_owned(), Raw::f16(&[1], 0))].into();
    let two: Tensors =
        [("b".to_owned(), Raw::f16(&[1], 0)), ("c".to_owned(), Raw::f16(&[1], 0))].into();
    write_safetensors(&dir.path().join("1.safetensors"), &one);
    write_safetensors(&dir.path().join("2.safetensors"), &two);
    let refused = |map: &str| {
        write_index(dir.path(), map);
        let text = message(&open(dir.path()).unwrap_err());
        assert_all(&text, &["model.safetensors.index.json"]);
        text
    };
    let text = refused(
        r#"{"a": "1.safetensors", "x": "8.safetensors", "y": "9.safetensors", "z": "9.safetensors"}"#,
    );
    assert_all(
        &text,
        &[
            "shard `8.safetensors` is missing, with 1 tensors",
            "shard `9.safetensors` is missing, with 2 tensors",
        ],
    );
    let text = refused(r#"{"a": "2.safetensors", "b": "1.safetensors", "d": "2.safetensors"}"#);
    assert_all(
        &text,
        &[
            "tensor `b` is there twice, in `1.safetensors` and in `2.safetensors`",
            "tensor `a` should be in `2.safetensors` and is in `1.safetensors`",
            "tensor `d` should be in `2.safetensors` and is in no shard",
        ],
    );
    assert_all(
        &refused(r#"{"a": "../1.safetensors"}"#),
        &["`../1.safetensors` is not the name of a file"],
    );
    assert_all(&refused(r#"{"a": "/etc/passwd"}"#), &["`/etc/passwd` is not the name of a file"]);
    assert_all(&refused(r#"{"a": ".."}"#), &["`..` is not the name of a file"]);
    let text = refused(&format!(r#"{{"a": "{}"}}"#, "x".repeat(300_000)));
    assert_all(&text, &["xxx... (300000 bytes)` is not the name of a file"]);
    assert!(text.len() < 1000, "{} bytes", text.len());
    assert_all(&refused(r#"{"a": "\u001b[2J"}"#), &["`\\u{1b}[2J` is not the name of a file"]);
    assert_all(
        &refused(r#"{"a": "1.safetensors", "a": "2.safetensors"}"#),
        &["`a` is there twice"],
    );
    assert_all(&refused(r#"["a"]"#), &["malformed"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_an_error() {
    let dir = Form::default().spec().write_config();
    let path = dir.path().join("model.safetensors");
    std::os::unix::fs::symlink(dir.path().join("nothing"), path).unwrap();
    assert_all(&message(&open(dir.path()).unwrap_err()), &["model.safetensors: cannot be read"]);
}

#[test]
fn a_tokenizer_that_is_no_file_is_an_error() {
    for name in ["tokenizer.model", "tokenizer.json"] {
        let dir = Form::default().spec().write();
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let part = format!("{name} is not a regular file");
        assert_all(&message(&open(dir.path()).unwrap_err()), &[&part]);
    }
}

#[test]
fn views_of_one_storage_are_read_at_their_offsets() {
    let spec = Form::default().spec();
    let mut tensors = torch_tensors(&spec.tensors);
    for tensor in &mut tensors {
        // Two elements before the tensor and one after it.
        let mut bytes = vec![0xaa; 4];
        bytes.append(&mut tensor.bytes);
        bytes.extend([0xbb; 2]);
        (tensor.bytes, tensor.offset) = (bytes, 2);
        // Strides of sizes 1 have no meaning.
        let mut stride = torch_file::row_major(&tensor.shape);
        for (stride, &size) in stride.iter_mut().zip(&tensor.shape) {
            if size == 1 {
                *stride = 77;
            }
        }
        tensor.stride = Some(stride);
    }
    let dir = spec.write_config();
    std::fs::write(dir.path().join("pytorch_model.bin"), archive(&tensors)).unwrap();
    assert_eq!(used(&open(dir.path()).unwrap()), used(&spec.open().unwrap()));
}

#[test]
fn archives_with_64_bit_numbers_are_read() {
    let spec = Form::default().spec();
    let tensors = torch_tensors(&spec.tensors);
    let dir = spec.write_config();
    let bytes = zip64(&entries(pickle(&tensors), &tensors));
    std::fs::write(dir.path().join("pytorch_model.bin"), bytes).unwrap();
    assert_eq!(used(&open(dir.path()).unwrap()), used(&spec.open().unwrap()));
}
