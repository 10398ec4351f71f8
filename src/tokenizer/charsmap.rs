//! SentencePiece's own normalizer, `Precompiled` in a `tokenizer.json`: a table of characters and what replaces them.

use serde_json::Value;
use tokenizers::normalizers::Precompiled;

/// Most bytes that replace a character. The longest in SentencePiece's tables is 33, for one Arabic ligature.
const MAX_REPLACEMENT_BYTES: usize = 64;

/// Reads the table.
///
/// # Errors
///
/// The broken rule.
pub(super) fn read(step: &Value) -> Result<Precompiled, String> {
    let Some(encoded) = step["precompiled_charsmap"].as_str() else {
        return Err("Precompiled has no precompiled_charsmap".to_owned());
    };
    let Some(table) = decode_base64(encoded) else {
        return Err("the precompiled_charsmap of Precompiled is not base64".to_owned());
    };
    // A length, the tree of that many bytes, then all replacements, each with a zero byte behind it.
    let parts = table.split_first_chunk::<4>().and_then(|(len, rest)| {
        let len = u32::from_le_bytes(*len) as usize;
        rest.split_at_checked(len / 4 * 4).filter(|(tree, _)| !tree.is_empty())
    });
    let Some((tree, replacements)) = parts else {
        return Err("the precompiled_charsmap of Precompiled ends within its tree".to_owned());
    };
    let Ok(replacements) = str::from_utf8(replacements) else {
        return Err("the precompiled_charsmap of Precompiled writes what is not UTF-8".to_owned());
    };
    let longest = replacements.split('\0').map(str::len).max().unwrap_or(0);
    if longest > MAX_REPLACEMENT_BYTES {
        return Err(format!(
            "Precompiled writes {longest} bytes for a character, more than {MAX_REPLACEMENT_BYTES}"
        ));
    }
    let units: Vec<u32> = tree.as_chunks().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    if let Some(place) = (0..units.len()).find(|&place| !is_sound(&units, place, replacements)) {
        return Err(format!("entry {place} of the tree in Precompiled points outside the tree"));
    }
    Precompiled::from(&table).map_err(|error| format!("Precompiled: {error}"))
}

/// Whether everything that a search can reach from the unit at `place` is there.
///
/// The tree is a double array of darts-clone: the child of a unit for a byte is at its own place, exclusive-or its
/// offset, exclusive-or the byte. A unit with bit 31 set is the end of a key and holds the place of a replacement.
/// The first unit, the root, is no end.
fn is_sound(units: &[u32], place: usize, replacements: &str) -> bool {
    const END: u32 = 1 << 31;
    let unit = units[place];
    if unit & END != 0 && place > 0 {
        return replacements.is_char_boundary((unit & !END) as usize);
    }
    let offset = (unit as usize >> 10) << ((unit & (1 << 9)) >> 6);
    let child = place ^ offset;
    let ends_a_key = unit & (1 << 8) != 0;
    child | 0xff < units.len() && (!ends_a_key || units[child] & END != 0)
}

/// The bytes that `text` stands for; none if it is not base64.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn base64_is_read() {
        assert_eq!(decode_base64("").expect("nothing"), b"");
        assert_eq!(decode_base64("TQ==").expect("padded"), b"M");
        assert_eq!(decode_base64("TWFuLg==").expect("padded"), b"Man.");
        assert_eq!(decode_base64("+/+/").expect("whole"), [0xfb, 0xff, 0xbf]);
        assert_eq!(decode_base64("T Q"), None);
    }

    /// A table as a file carries it.
    fn table(units: &[u32], replacements: &[u8]) -> Value {
        let mut bytes = (units.len() as u32 * 4).to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(replacements);
        let digit = |number: u32| match number as u8 {
            number @ ..26 => b'A' + number,
            number @ 26..52 => b'a' + number - 26,
            number @ 52..62 => b'0' + number - 52,
            62 => b'+',
            _ => b'/',
        };
        let group = |group: &[u8]| {
            let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*group.get(at).unwrap_or(&0)));
            (0..=group.len()).map(|at| char::from(digit(bits >> (18 - 6 * at) & 63))).collect::<String>()
        };
        json!({"precompiled_charsmap": bytes.chunks(3).map(group).collect::<String>()})
    }

    /// `A` becomes `bc`: the root, the unit of the letter with the end of its key beside it.
    fn one_letter() -> Vec<u32> {
        let mut units = vec![0; 512];
        units[0] = 256 << 10;
        units[256 ^ 0x41] = 0x41 | 1 << 8 | (0x41 ^ 1) << 10;
        units[256 ^ 1] = 1 << 31 | 2;
        units
    }

    #[test]
    fn a_character_is_replaced() {
        let table = read(&table(&one_letter(), b"x\0bc\0")).expect("sound");
        assert_eq!(table.normalize_string("aAé"), "abcé");
    }

    #[test]
    fn damaged_tables_are_refused() {
        let changed = |place: usize, unit: u32| {
            let mut units = one_letter();
            units[place] = unit;
            table(&units, "x\0bé\0".as_bytes())
        };
        let text = |text: &str| json!({"precompiled_charsmap": text});
        for (step, told) in [
            (json!({}), "has no precompiled_charsmap"),
            (text("?"), "not base64"),
            (text("AAAA"), "within its tree"),
            (text("AAAAAA=="), "within its tree"),
            (text("/////w=="), "within its tree"),
            (table(&one_letter(), b"\xff"), "not UTF-8"),
            (table(&one_letter(), &[b'a'; 65]), "65 bytes for a character, more than 64"),
            (table(&[0; 255], b""), "entry 0 of the tree"),
            (changed(0, 512 << 10), "entry 0 of the tree"),
            (changed(0, u32::MAX >> 1), "entry 0 of the tree"),
            (changed(0, u32::MAX), "entry 0 of the tree"),
            // The key ends in no replacement, behind all of them, or within a character.
            (changed(256 ^ 1, 0), "entry 321 of the tree"),
            (changed(256 ^ 1, 1 << 31 | 7), "entry 257 of the tree"),
            (changed(256 ^ 1, 1 << 31 | 4), "entry 257 of the tree"),
        ] {
            let error = read(&step).expect_err("damaged");
            assert!(error.contains(told), "{error}");
        }
    }
}
