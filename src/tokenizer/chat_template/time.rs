//! `strftime_now`, with a day that changes only if an app sets it.
//!
//! A prompt must depend on its messages only. If it also depended on the clock, a cached prefix and a
//! recorded result would both be wrong tomorrow. The default day is the one that templates use without a
//! clock.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// In the order of [`Day::weekday`].
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl Default for Day {
    /// Friday, 26 July 2024.
    fn default() -> Self {
        Day { year: 2024, month: 7, day: 26 }
    }
}

impl Day {
    /// The day with this date, if the calendar has it and its year has four digits.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Day> {
        let sound = (1000..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=month_days(year, month)).contains(&u16::from(day));
        sound.then_some(Day { year, month, day })
    }

    /// Midnight of the day in Python's `strftime` notation.
    pub fn format(self, format: &str) -> Result<String, String> {
        let Day { year, month, day } = self;
        let month_name = MONTHS[usize::from(month) - 1];
        let weekday = WEEKDAYS[self.weekday()];
        let mut text = String::with_capacity(format.len() + 8);
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                text.push(letter);
                continue;
            }
            let field = letters.next();
            text.push_str(&match field {
                Some('Y') => year.to_string(),
                Some('y') => format!("{:02}", year % 100),
                Some('m') => format!("{month:02}"),
                Some('d') => format!("{day:02}"),
                Some('e') => format!("{day:2}"),
                Some('j') => format!("{:03}", self.of_year()),
                Some('b' | 'h') => month_name[..3].to_owned(),
                Some('B') => month_name.to_owned(),
                Some('a') => weekday[..3].to_owned(),
                Some('A') => weekday.to_owned(),
                Some('H' | 'M' | 'S') => "00".to_owned(),
                Some('I') => "12".to_owned(),
                Some('p') => "AM".to_owned(),
                Some('F') => format!("{year}-{month:02}-{day:02}"),
                Some('T') => "00:00:00".to_owned(),
                Some('-') => match letters.next() {
                    Some('d') => day.to_string(),
                    Some('m') => month.to_string(),
                    Some('H' | 'M' | 'S') => "0".to_owned(),
                    Some('I') => "12".to_owned(),
                    other => return Err(unknown('-', other)),
                },
                Some('%') => "%".to_owned(),
                other => return Err(unknown('%', other)),
            });
        }
        Ok(text)
    }

    /// Number of the day in its year, from 1.
    fn of_year(self) -> u16 {
        (1..self.month).map(|month| month_days(self.year, month)).sum::<u16>() + u16::from(self.day)
    }

    /// Days since the last Sunday.
    fn weekday(self) -> usize {
        // Of a leap year every fourth, not every hundredth, but every four hundredth.
        let years = usize::from(self.year) - 1;
        let days = years * 365 + years / 4 - years / 100 + years / 400 + usize::from(self.of_year());
        days % 7
    }
}

fn month_days(year: u16, month: u8) -> u16 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u16::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn unknown(before: char, field: Option<char>) -> String {
    let field: String = field.into_iter().collect();
    format!("strftime_now does not know the field `{before}{field}`")
}

#[cfg(test)]
mod tests {
    use super::Day;

    fn format(day: Day, fields: &str) -> String {
        day.format(fields).expect("known fields")
    }

    #[test]
    fn the_day_is_fixed_by_default() {
        let day = Day::default();
        assert_eq!(format(day, "%d %b %Y"), "26 Jul 2024");
        assert_eq!(format(day, "%A %-d %B, 100%%"), "Friday 26 July, 100%");
        let all = "%Y %y %m %d %e %j %b %h %B %a %A %H %M %S %I %p %F %T %-d %-m %-H %-I";
        let expected =
            "2024 24 07 26 26 208 Jul Jul July Fri Friday 00 00 00 12 AM 2024-07-26 00:00:00 26 7 0 12";
        assert_eq!(format(day, all), expected);
        assert!(day.format("%Q").is_err() && day.format("%").is_err());
    }

    #[test]
    fn other_days_are_written_as_python_writes_them() {
        // Python: datetime.date(...).strftime("%a %A %j %e %-d %-m %y %F")
        for (year, month, day, expected) in [
            (2026, 3, 9, "Mon Monday 068  9 9 3 26 2026-03-09"),
            (2000, 2, 29, "Tue Tuesday 060 29 29 2 00 2000-02-29"),
            (2024, 12, 31, "Tue Tuesday 366 31 31 12 24 2024-12-31"),
            (1900, 3, 1, "Thu Thursday 060  1 1 3 00 1900-03-01"),
            (2100, 1, 1, "Fri Friday 001  1 1 1 00 2100-01-01"),
        ] {
            let day = Day::new(year, month, day).expect("the calendar has it");
            assert_eq!(format(day, "%a %A %j %e %-d %-m %y %F"), expected);
        }
    }

    #[test]
    fn days_that_no_calendar_has_are_refused() {
        for (year, month, day) in [(2023, 2, 29), (1900, 2, 29), (2024, 0, 1), (2024, 13, 1), (2024, 4, 31)] {
            assert_eq!(Day::new(year, month, day), None);
        }
        assert_eq!((Day::new(2024, 1, 0), Day::new(999, 1, 1), Day::new(10_000, 1, 1)), (None, None, None));
        assert!(Day::new(2024, 2, 29).is_some());
    }
}
