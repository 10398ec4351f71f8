//! Broken GGUF files, each by a name, each with the message it must give.

use parr::format::gguf::Gguf;

use super::{Case, check_cases};

const U32: u32 = 4;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const F32: u32 = 0;
const Q4_0: u32 = 2;

/// Little-endian fields, put one after the other.
#[derive(Clone, Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn u32(mut self, value: u32) -> Raw {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Raw {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Raw {
        self.0.extend(bytes);
        self
    }

    fn string(self, text: &[u8]) -> Raw {
        self.u64(text.len() as u64).bytes(text)
    }

    fn tensor(self, name: &str, axes: &[u64], kind: u32, offset: u64) -> Raw {
        let raw = self.string(name.as_bytes()).u32(axes.len() as u32);
        axes.iter().fold(raw, |raw, axis| raw.u64(*axis)).u32(kind).u64(offset)
    }

    /// `len` bytes of data, from the next multiple of 32 on.
    fn data(mut self, len: usize) -> Raw {
        self.0.resize(self.0.len().next_multiple_of(32) + len, 0);
        self
    }
}

/// 24 bytes: magic, version and counts.
fn header(tensors: u64, keys: u64) -> Raw {
    Raw::default().bytes(b"GGUF").u32(3).u64(tensors).u64(keys)
}

/// A file with the one key `k`, whose value's type stands at byte 33.
fn key(kind: u32) -> Raw {
    header(0, 1).string(b"k").u32(kind)
}

fn case(name: &'static str, raw: Raw, says: &'static [&'static str]) -> Case {
    Case { name, bytes: raw.0, says }
}

fn headers() -> Vec<Case> {
    vec![
        case("empty file", Raw::default(), &["byte 0", "magic number", "ends at byte 0"]),
        case("cut inside the magic", Raw::default().bytes(b"GGU"), &["byte 0", "magic number"]),
        case("wrong magic", Raw::default().bytes(b"PK\x03\x04aaaa"), &["byte 0", "starts with `GGUF`"]),
        case("version 1", Raw::default().bytes(b"GGUF").u32(1), &["version is 1", "byte 4"]),
        case("version 4", Raw::default().bytes(b"GGUF").u32(4), &["version is 4", "byte 4"]),
        case("big endian", Raw::default().bytes(b"GGUF").u32(3 << 24), &["big-endian", "byte 4"]),
        case("cut before the counts", Raw::default().bytes(b"GGUF").u32(3), &["byte 8", "number of tensors"]),
        case("absurd tensor count", header(u64::MAX, 0), &["byte 8", "18446744073709551615 tensors"]),
        case("more tensors than bytes", header(1000, 0), &["byte 8", "1000 tensors cannot fit"]),
        case("absurd key count", header(0, 1 << 40), &["byte 16", "1099511627776 metadata keys"]),
        case("more keys than bytes", header(0, 9).data(0), &["byte 16", "9 metadata keys cannot fit"]),
    ]
}

fn metadata() -> Vec<Case> {
    let nested = (0..5).fold(key(ARRAY), |raw, _| raw.u32(ARRAY).u64(1)).data(64);
    let twice = header(0, 2).string(b"k").u32(U32).u32(1).string(b"k").u32(U32).u32(2);
    let alignment = |kind| header(0, 1).string(b"general.alignment").u32(kind);
    vec![
        case(
            "key longer than the file",
            header(0, 1).u64(60_000).data(32),
            &["byte 32", "60000 bytes", "ends at"],
        ),
        case(
            "key of absurd length",
            header(0, 1).u64(1 << 63).data(32),
            &["byte 24", "a metadata key has", "65535"],
        ),
        case("empty key", header(0, 1).u64(0).data(32), &["byte 24", "a metadata key is empty"]),
        case("key not in utf8", header(0, 1).string(b"a\xFFb").data(32), &["byte 33", "not UTF-8"]),
        case("duplicate key", twice, &["`k`", "byte 41", "appears twice"]),
        case("unknown value type", key(13).u64(0), &["`k`", "byte 33", "value type 13"]),
        case("value cut short", key(10).u32(1), &["`k`", "byte 37", "needs 8 bytes"]),
        case("bool of 2", key(7).bytes(&[2]), &["`k`", "byte 37", "a bool is 2"]),
        case("string past the end", key(STRING).u64(99).u32(0), &["`k`", "byte 45", "needs 99 bytes"]),
        case(
            "string of absurd length",
            key(STRING).u64(u64::MAX),
            &["`k`", "byte 37", "18446744073709551615 bytes"],
        ),
        case("string not in utf8", key(STRING).string(b"ab\xC0\xC0"), &["`k`", "byte 47", "not UTF-8"]),
        case(
            "array of absurd length",
            key(ARRAY).u32(U32).u64(u64::MAX / 4),
            &["`k`", "byte 41", "array elements", "at most"],
        ),
        case(
            "array past the end",
            key(ARRAY).u32(U32).u64(100).u32(0),
            &["`k`", "byte 41", "100 array elements cannot fit"],
        ),
        case(
            "array of an unknown type",
            key(ARRAY).u32(77).u64(0),
            &["`k`", "byte 37", "array element type 77"],
        ),
        case("deeply nested arrays", nested, &["`k`", "byte 85", "nested deeper than 4"]),
        case("alignment of 0", alignment(U32).u32(0), &["`general.alignment`", "byte 49", "power of two"]),
        case("alignment of 24", alignment(U32).u32(24), &["`general.alignment`", "power of two", "24"]),
        case(
            "alignment of 2 GiB",
            alignment(U32).u32(1 << 31),
            &["`general.alignment`", "up to 1048576", "2147483648"],
        ),
        case(
            "alignment as text",
            alignment(STRING).string(b"32"),
            &["`general.alignment`", "found a string"],
        ),
    ]
}

fn tensors() -> Vec<Case> {
    let one = |axes: &[u64], kind, offset| header(1, 0).tensor("t", axes, kind, offset);
    let two = |a: u64, b: u64| header(2, 0).tensor("a", &[16], F32, a).tensor("b", &[16], F32, b);
    vec![
        case("tensor without a name", header(1, 0).tensor("", &[1], F32, 0).data(32), &["byte 24", "empty"]),
        case(
            "tensor name of absurd length",
            header(1, 0).u64(4096).data(64),
            &["byte 24", "a tensor's name has 4096 bytes"],
        ),
        case(
            "tensor table cut short",
            header(1, 0).string(&[b't'; 30]).u32(2),
            &["byte 66", "a tensor's shape needs 8 bytes"],
        ),
        case("tensor of five axes", one(&[1; 5], F32, 0).data(32), &["`t`", "byte 33", "5 axes"]),
        case("empty axis", one(&[4, 0], F32, 0).data(32), &["`t`", "byte 45", "an axis has 0 elements"]),
        case(
            "size overflows",
            one(&[1 << 32, 1 << 32], F32, 0).data(32),
            &["`t`", "byte 53", "size in bytes overflows"],
        ),
        case(
            "row size overflows",
            one(&[1 << 63], F32, 0).data(32),
            &["`t`", "byte 45", "size in bytes overflows"],
        ),
        case(
            "unread tensor past the end",
            one(&[256], 19, 0).data(49),
            &["`t`", "50 bytes", "past the file's end"],
        ),
        case(
            "unread tensor of broken blocks",
            one(&[255], 19, 0).data(99),
            &["`t`", "rows of 255", "IQ1_S blocks of 256"],
        ),
        case("unknown tensor past the end", one(&[32], 77, 64).data(32), &["`t`", "past the file's end"]),
        case(
            "rows of broken blocks",
            one(&[33, 2], Q4_0, 0).data(99),
            &["`t`", "byte 53", "rows of 33", "q4_0 blocks of 32"],
        ),
        case(
            "misaligned offset",
            one(&[8], F32, 8).data(99),
            &["`t`", "byte 49", "offset 8", "alignment 32"],
        ),
        case("offset past the end", one(&[8], F32, 1 << 20).data(32), &["`t`", "byte 49", "past"]),
        case(
            "offset overflows",
            one(&[8], F32, u64::MAX - 31).data(32),
            &["`t`", "byte 49", "past the file's end"],
        ),
        case("one byte short", one(&[8], F32, 0).data(31), &["`t`", "32 bytes", "past", "byte 95"]),
        case("no data at all", one(&[8], F32, 0), &["`t`", "starts at byte 64", "end at byte 57"]),
        case("overlapping tensors", two(0, 32).data(128), &["`b`", "byte 82", "overlaps", "`a`"]),
        case("tensors in one place", two(64, 64).data(128), &["byte 82", "overlaps"]),
        case(
            "duplicate tensor",
            header(2, 0).tensor("a", &[8], F32, 0).tensor("a", &[8], F32, 32).data(64),
            &["`a`", "byte 57", "two tensors have this name"],
        ),
        case(
            "duplicate under two spellings",
            header(2, 0)
                .tensor("output.weight", &[8], F32, 0)
                .tensor("lm_head.weight", &[8], F32, 32)
                .data(64),
            &["`lm_head.weight`", "two tensors have this name"],
        ),
    ]
}

#[test]
fn each_broken_file_is_refused_by_name() {
    let cases: Vec<Case> = [headers(), metadata(), tensors()].into_iter().flatten().collect();
    assert!(cases.len() >= 45, "{} cases", cases.len());
    check_cases(cases, |path, bytes| Gguf::parse(path, bytes).map(drop));
}

#[test]
fn the_cases_differ_from_a_sound_file_by_one_fault() {
    let sound = header(2, 0).tensor("a", &[16], F32, 0).tensor("b", &[16], F32, 64).data(128);
    let gguf = Gguf::parse("sound.gguf".as_ref(), &sound.0).unwrap();
    assert_eq!(gguf.tensors().len(), 2);
    let key = key(U32).u32(5);
    assert_eq!(Gguf::parse("key.gguf".as_ref(), &key.0).unwrap().count("k").unwrap(), Some(5));
}

#[test]
fn getters_name_file_key_and_byte() {
    let bytes = key(STRING).string(b"text").0;
    let gguf = Gguf::parse("typed.gguf".as_ref(), &bytes).unwrap();
    let says = &["typed.gguf", "`k`", "byte 33", "found a string"];
    let errors = [
        gguf.count("k").unwrap_err(),
        gguf.float("k").unwrap_err(),
        gguf.flag("k").unwrap_err(),
        gguf.token("k").unwrap_err(),
        gguf.strings("k").unwrap_err(),
        gguf.floats("k").unwrap_err(),
        gguf.integers("k").unwrap_err(),
    ];
    for error in errors {
        super::check_message("getter", &error, "typed.gguf".as_ref(), says);
    }
    assert_eq!(gguf.string("k").unwrap(), Some("text"));
    assert_eq!(gguf.string("absent").unwrap(), None);
    let missing = gguf.need_count("absent").unwrap_err().to_string();
    assert_eq!(missing, "typed.gguf: `absent` is missing from the metadata");
    let negative = Gguf::parse("n.gguf".as_ref(), &key(5).u32(u32::MAX).0).unwrap();
    assert!(negative.count("k").unwrap_err().to_string().contains("the integer -1"));
    let nan = Gguf::parse("n.gguf".as_ref(), &key(6).u32(f32::NAN.to_bits()).0).unwrap();
    assert!(nan.float("k").unwrap_err().to_string().contains("finite"));
}

#[test]
fn tensors_in_other_formats_are_listed_by_name() {
    // Number, weights in a row, bytes, and what is said.
    let cases: Vec<(u32, u64, usize, &str)> = vec![
        (9, 32, 40, "has format Q8_1, which Parr does not read"),
        (19, 256, 50, "has format IQ1_S"),
        (24, 5, 5, "has format I8"),
        (26, 3, 12, "has format I32"),
        (27, 3, 24, "has format I64"),
        (28, 3, 24, "has format F64"),
        (29, 256, 56, "has format IQ1_M"),
        (31, 32, 18, "has format Q4_0_4_4, which ggml has removed"),
        (34, 256, 54, "has format TQ1_0"),
        (35, 256, 66, "has format TQ2_0"),
        (39, 32, 17, "has format MXFP4"),
        (40, 64, 36, "has format NVFP4"),
        (77, 7, 1, "has ggml type 77, which is not known"),
        (u32::MAX, 7, 1, "has ggml type 4294967295, which is not known"),
    ];
    for (number, row, bytes, says) in cases {
        let raw = header(2, 0).tensor("output.weight", &[row], number, 0).tensor("a", &[8], F32, 320);
        let file = raw.data(320 + 32);
        let gguf = Gguf::parse("m.gguf".as_ref(), &file.0).unwrap();
        assert_eq!(gguf.tensors().len(), 1, "{says}");
        let [unread] = gguf.unread() else { panic!("{says}: {:?}", gguf.unread()) };
        assert_eq!((&unread.name[..], &unread.source_name[..]), ("lm_head.weight", "output.weight"));
        assert!(unread.why.contains(says), "{unread:?}");
        let error = unread.error("m.gguf".as_ref()).to_string();
        assert!(error.contains(says) && error.contains("q4_k") && !error.contains("malformed"), "{error}");
        // Its data counts: nothing may overlap it.
        let raw = header(2, 0).tensor("output.weight", &[row, 64], number, 0).tensor("a", &[8], F32, 32);
        let overlapping = Gguf::parse("m.gguf".as_ref(), &raw.data(64 * bytes + 64).0);
        assert_eq!(overlapping.is_err(), ![31, 77, u32::MAX].contains(&number), "{says}");
    }
    let scalar = header(1, 0).tensor("t", &[], F32, 0).data(4);
    let gguf = Gguf::parse("m.gguf".as_ref(), &scalar.0).unwrap();
    assert_eq!((gguf.tensors()[0].shape.len(), gguf.tensors()[0].byte_len()), (0, 4));
}
