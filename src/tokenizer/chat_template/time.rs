//! `strftime_now`, with a fixed day.
//!
//! A prompt must depend on its messages only; otherwise a cached prefix and a recorded result would
//! both be wrong tomorrow. The day is the one that templates use if there is no clock.

use minijinja::{Error, ErrorKind};

/// Friday, 26 July 2024, midnight.
pub(super) fn format(format: &str) -> Result<String, Error> {
    let mut text = String::with_capacity(format.len() + 8);
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let field = letters.next();
        text.push_str(match field {
            Some('Y') => "2024",
            Some('y') => "24",
            Some('m') => "07",
            Some('d' | 'e') => "26",
            Some('j') => "208",
            Some('b' | 'h') => "Jul",
            Some('B') => "July",
            Some('a') => "Fri",
            Some('A') => "Friday",
            Some('H' | 'M' | 'S') => "00",
            Some('I') => "12",
            Some('p') => "AM",
            Some('F') => "2024-07-26",
            Some('T') => "00:00:00",
            Some('-') => match letters.next() {
                Some('d') => "26",
                Some('m') => "7",
                Some('H' | 'M' | 'S') => "0",
                Some('I') => "12",
                other => return Err(unknown('-', other)),
            },
            Some('%') => "%",
            other => return Err(unknown('%', other)),
        });
    }
    Ok(text)
}

fn unknown(before: char, field: Option<char>) -> Error {
    let field: String = field.into_iter().collect();
    let detail = format!("strftime_now does not know the field `{before}{field}`");
    Error::new(ErrorKind::InvalidOperation, detail)
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn the_day_is_fixed() {
        assert_eq!(format("%d %b %Y").expect("known fields"), "26 Jul 2024");
        assert_eq!(format("%A %-d %B, 100%%").expect("known fields"), "Friday 26 July, 100%");
        assert!(format("%Q").is_err() && format("%").is_err());
    }
}
