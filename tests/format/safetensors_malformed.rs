//! Broken safetensors files, each by a name, each with the message it must give.

use parr::format::safetensors::{self, Parsed};

use super::{Case, check_cases};

/// A file with this JSON header and `data` bytes behind it.
fn file(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// A file of one tensor `t`: its type, shape and offsets, as JSON.
fn one(dtype: &str, shape: &str, offsets: &str, data: usize) -> Vec<u8> {
    file(&format!(r#"{{"t":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#), data)
}

/// A file of two f32 vectors `a` and `b`.
fn two(a: (usize, usize), b: (usize, usize), data: usize) -> Vec<u8> {
    let entry = |(begin, end): (usize, usize)| {
        let len = (end - begin) / 4;
        format!(r#"{{"dtype":"F32","shape":[{len}],"data_offsets":[{begin},{end}]}}"#)
    };
    file(&format!(r#"{{"a":{},"b":{}}}"#, entry(a), entry(b)), data)
}

fn cases() -> Vec<Case> {
    let case = |name, bytes, says| Case { name, bytes, says };
    let deep = format!(r#"{{"t":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    vec![
        case("empty file", vec![], &["byte 0", "needs 8 bytes", "has 0"]),
        case("seven bytes", vec![0; 7], &["byte 0", "has 7"]),
        case("no header", vec![0; 8], &["byte 8", "its JSON"]),
        case("absurd header length", vec![0xFF; 16], &["byte 0", "18446744073709551615 bytes"]),
        case("header past the end", file("{}", 0)[..9].to_vec(), &["byte 0", "2 bytes", "ends at byte 9"]),
        case("header not in utf8", file("{\"a\u{0}", 0), &["its JSON", "byte 11"]),
        case("header is a list", file("[]", 0), &["byte 8", "an object of tensors"]),
        case("header cut inside", file(r#"{"t":{"dtype""#, 0), &["byte 20", "EOF"]),
        case("text after the header", file("{}}", 0), &["byte 10", "trailing characters"]),
        case("deeply nested header", file(&deep, 0), &["its JSON", "`t`"]),
        case("header error on the second line", file("{\n\"t\": 5}", 0), &["byte 15", "`t`", "integer `5`"]),
        case(
            "duplicate tensor",
            file(&format!(r#"{{"t":{entry},"t":{entry}}}"#), 4),
            &["byte 64", "`t` appears twice"],
        ),
        case(
            "metadata of numbers",
            file(r#"{"__metadata__":{"a":1}}"#, 0),
            &["byte 29", "`__metadata__` must map text to text"],
        ),
        case(
            "tensor without a shape",
            file(r#"{"t":{"dtype":"F32","data_offsets":[0,4]}}"#, 4),
            &["`t`", "byte 48", "missing field `shape`"],
        ),
        case(
            "tensor with a field twice",
            file(r#"{"t":{"dtype":"F32","dtype":"F32"}}"#, 4),
            &["`t`", "byte 34", "duplicate field `dtype`"],
        ),
        case("tensor without a name", file(&format!(r#"{{"":{entry}}}"#), 4), &["byte 8", "name is empty"]),
        case("negative extent", one("F32", "[-1]", "[0,4]", 4), &["`t`", "byte 38", "-1"]),
        case("fractional extent", one("F32", "[1.5]", "[0,4]", 4), &["`t`", "byte 39", "1.5"]),
        case("three offsets", one("F32", "[1]", "[0,4,8]", 4), &["`t`", "byte 60", "trailing characters"]),
        case("unread tensor past the end", one("I64", "[1]", "[0,8]", 4), &["`t`", "ends at 8"]),
        case("a hole after an unread tensor", one("I64", "[1]", "[0,8]", 9), &["1 bytes after"]),
        case(
            "size overflows",
            one("F32", "[4294967296,4294967296]", "[0,4]", 4),
            &["`t`", "byte 82", "overflows"],
        ),
        case("offsets run backwards", one("F32", "[1]", "[4,0]", 4), &["`t`", "byte 8", "[4, 0]"]),
        case("data past the end", one("F32", "[2]", "[0,8]", 4), &["`t`", "ends at 8", "4 bytes of data"]),
        case(
            "offset of 2^64 - 1",
            one("F32", "[1]", "[0,18446744073709551615]", 4),
            &["`t`", "ends at 18446744073709551615"],
        ),
        case(
            "shape and size disagree",
            one("F32", "[3]", "[0,8]", 8),
            &["`t`", "byte 62", "12 bytes", "has 8"],
        ),
        case("overlapping tensors", two((0, 8), (4, 12), 12), &["`b`", "byte 120", "overlaps", "`a`"]),
        case("a hole between tensors", two((0, 4), (8, 12), 12), &["`b`", "byte 124", "4 bytes before"]),
        case("a hole before the first", one("F32", "[1]", "[4,8]", 8), &["`t`", "byte 66", "4 bytes before"]),
        case("bytes after the last", one("F32", "[1]", "[0,4]", 9), &["byte 66", "5 bytes after"]),
    ]
}

#[test]
fn each_broken_file_is_refused_by_name() {
    let cases = cases();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    check_cases(cases, |path, bytes| safetensors::parse(path, bytes, 0).map(drop));
}

#[test]
fn the_cases_differ_from_a_sound_file_by_one_fault() {
    let parse = |bytes: Vec<u8>| safetensors::parse("sound.safetensors".as_ref(), &bytes, 0);
    let tensors = parse(two((8, 16), (0, 8), 16)).unwrap().tensors;
    assert_eq!([&tensors[0].name, &tensors[1].name], ["b", "a"]);
    assert_eq!(parse(one("BF16", "[1,1,1,1,1,1,1,1]", "[0,2]", 2)).unwrap().tensors[0].shape, [1; 8]);
    assert_eq!(parse(one("F16", "[]", "[0,2]", 2)).unwrap().tensors[0].cols(), 1);
    assert_eq!(parse(file(r#"{"__metadata__":{"format":"pt"}}"#, 0)).unwrap(), Parsed::default());
}

#[test]
fn tensors_in_other_formats_are_listed() {
    let parse = |bytes: Vec<u8>| safetensors::parse("sound.safetensors".as_ref(), &bytes, 0).unwrap();
    for (dtype, shape, says) in [
        ("I64", "[1]", "has format I64, which Parr does not read"),
        ("F8_E4M3", "[2,4]", "has format F8_E4M3"),
        ("Q9", "[]", "has format Q9"),
        ("F32", "[1,1,1,1,1,1,1,2,1]", "has 9 axes"),
    ] {
        let parsed = parse(one(dtype, shape, "[0,8]", 8));
        assert!(parsed.tensors.is_empty(), "{dtype}");
        let [unread] = &parsed.unread[..] else { panic!("{dtype}: {:?}", parsed.unread) };
        assert!(unread.name == "t" && unread.why.contains(says), "{unread:?}");
        let error = unread.error("model.safetensors".as_ref()).to_string();
        assert!(error.contains("tensor `t` has") && error.contains("F32, F16 or BF16"), "{error}");
    }
}
