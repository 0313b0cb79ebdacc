//! The small texts of a fleet file: durations, amounts, days, dates, hours, times, names. Each error says what would
//! have been right.

use jiff::civil::{Date, DateTime, Weekday};

use crate::domain::fleet::{Amount, Seconds};
use crate::domain::window::{Dates, Days, Hours};
use crate::domain::{Timestamp, Version, Zone};

/// `45m`, `1h 30m`, `14d`; d is 24 hours, w seven days.
pub fn duration(text: &str) -> Result<Seconds, String> {
    let wrong = || {
        format!("`{}` is not a duration: write a number and s, m, h, d or w, for example 45m or 1h 30m", shown(text))
    };
    let mut total: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut longest_left = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match &rest[digits..=digits] {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(wrong()),
        };
        // Larger units first, each once: `30m 1h` and `5m 5m` are more likely slips than wishes.
        if unit >= longest_left {
            return Err(wrong());
        }
        longest_left = unit;
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = rest[digits + 1..].trim_start();
    }
    Ok(Seconds(total))
}

/// `200` or `10%`.
pub fn amount(text: &str) -> Result<Amount, String> {
    let wrong =
        || format!("`{}` is neither a number nor a share: write for example 5 or 10%, in whole numbers", shown(text));
    match text.strip_suffix('%') {
        Some(percent) => match percent.trim_end().parse::<u8>() {
            Ok(percent) if percent <= 100 => Ok(Amount::Percent(percent)),
            Ok(_) => Err(format!("`{}` is more than 100%", shown(text))),
            Err(_) => Err(wrong()),
        },
        None => text.parse().map(Amount::Number).map_err(|_| wrong()),
    }
}

/// `3.6.0`.
pub fn version(text: &str) -> Result<Version, String> {
    text.parse::<Version>().map_err(|error| {
        let dots = text.matches('.').count();
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if digits && dots == 1 {
            format!("`{text}` lacks its third number: write for example {text}.0")
        } else if let Some(bare) = text.strip_prefix('v').filter(|bare| bare.parse::<Version>().is_ok()) {
            format!("write `{bare}`, without the v")
        } else {
            error.to_string()
        }
    })
}

/// The name of a fleet, group, strategy, wave or window: it appears in labels, metrics and URLs.
pub fn name(text: &str) -> Result<String, String> {
    let sound = text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.is_empty();
    if sound {
        return Ok(text.to_owned());
    }
    Err(format!("`{}` cannot be a name: use lowercase letters, digits and - inside, at most 63 of them", shown(text)))
}

/// `Mon-Fri`, `Sat,Sun`, `Fri-Mon`.
pub fn days(text: &str) -> Result<Days, String> {
    let wrong = || format!("`{}` names no weekdays: write for example Mon-Fri or Sat,Sun", shown(text));
    let mut days = Days::NONE;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (weekday(first).ok_or_else(wrong)?, weekday(last).ok_or_else(wrong)?);
        let mut day = first;
        days = days.with(day);
        while day != last {
            day = day.next();
            days = days.with(day);
        }
    }
    Ok(days)
}

fn weekday(text: &str) -> Option<Weekday> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let text = text.trim().to_lowercase();
    let index = NAMES.iter().position(|name| *name == text || (text.len() == 3 && name.starts_with(&text)))?;
    Weekday::from_monday_zero_offset(i8::try_from(index).ok()?).ok()
}

/// `2026-12-24` or `2026-12-20..2027-01-06`.
pub fn dates(text: &str) -> Result<Dates, String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let date = |part: &str| {
        part.trim().parse::<Date>().map_err(|_| {
            format!("`{}` is no date or range of dates: write 2026-12-24 or 2026-12-20..2027-01-06", shown(text))
        })
    };
    let dates = Dates { first: date(first)?, last: date(last)? };
    if dates.last < dates.first {
        return Err(format!("ends on {} before it begins on {}: swap the two dates", dates.last, dates.first));
    }
    Ok(dates)
}

/// A minute of the day out of `22:00`; `24:00` only where an end is meant.
fn minute(text: &str, last: u16) -> Result<u16, String> {
    let wrong =
        || format!("`{}` is no time of day: write hours and minutes in quotes, for example \"22:00\"", shown(text));
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let part = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        let sound = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        sound.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (part(hours, 1..=2).ok_or_else(wrong)?, part(minutes, 2..=2).ok_or_else(wrong)?);
    let minute = hours * 60 + minutes;
    if minutes > 59 || minute > last { Err(wrong()) } else { Ok(minute) }
}

/// A beginning, `00:00` to `23:59`.
pub fn from_minute(text: &str) -> Result<u16, String> {
    minute(text, 24 * 60 - 1)
}

/// An end, `00:00` to `24:00`.
pub fn to_minute(text: &str) -> Result<u16, String> {
    minute(text, 24 * 60)
}

/// Hours that are not empty.
pub fn hours(from: u16, to: u16) -> Result<Hours, String> {
    if from == to {
        return Err("begins and ends at the same time, so it never opens: for a whole day leave both out".to_owned());
    }
    Ok(Hours { from, to })
}

/// `2026-12-01T22:00` in `zone`, or with an offset (`…+01:00`, `…Z`).
pub fn start(text: &str, zone: &Zone) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_jiff(instant));
    }
    let wrong =
        || format!("`{}` is no time: write 2026-12-01T22:00 (in {zone}) or add an offset such as +01:00", shown(text));
    // jiff reads a bare date as midnight; a wave that starts at midnight should say so.
    if !text.contains(['T', 't', ' ']) {
        return Err(wrong());
    }
    let local = text.parse::<DateTime>().map_err(|_| wrong())?;
    let instant = zone.rules().to_ambiguous_timestamp(local).compatible().map_err(|_| wrong())?;
    Ok(Timestamp::from_jiff(instant))
}

/// At most 80 characters of what was written.
pub fn shown(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_days_and_weeks() {
        for (text, seconds) in
            [("45m", 2_700), ("1h30m", 5_400), ("1h 30m", 5_400), ("14d", 1_209_600), ("1w", 604_800), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Seconds(seconds)), "{text}");
        }
        for text in [
            "",
            "45",
            "m",
            "1.5h",
            "-1h",
            "5m 5m",
            "30m 1h",
            "1y",
            "99999999999999999999d",
            "1 h",
            "9999999999999999w",
            "1hü",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_are_whole_numbers_or_whole_shares() {
        assert_eq!(amount("5"), Ok(Amount::Number(5)));
        assert_eq!(amount("10%"), Ok(Amount::Percent(10)));
        for text in ["", "%", "10.5%", "101%", "-1", "five", "5 clusters", "300%"] {
            assert!(amount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_version_with_two_numbers_is_explained() {
        assert!(version("1.10").unwrap_err().contains("1.10.0"));
        assert!(version("v3.6.0").unwrap_err().contains("`3.6.0`"));
        assert!(version("latest").is_err());
    }

    #[test]
    fn days_may_run_over_the_weekend() {
        assert_eq!(days("Fri-Mon").unwrap().to_string(), "Mon,Fri,Sat,Sun");
        assert_eq!(days("Sat, sunday").unwrap().to_string(), "Sat,Sun");
        assert_eq!(days("Mon-Sun").unwrap(), Days::ALL);
        for text in ["", "Mo", "Mon-", "Montag", "Mon..Fri"] {
            assert!(days(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hours_and_dates_that_cannot_be_are_refused() {
        assert_eq!(from_minute("22:00"), Ok(1_320));
        assert_eq!(to_minute("24:00"), Ok(1_440));
        for text in ["24:00", "7", "22.00", "22:60", "1320", "-1:00", "22:0"] {
            assert!(from_minute(text).is_err(), "{text}");
        }
        assert!(hours(60, 60).is_err());
        assert!(dates("2027-01-06..2026-12-20").is_err());
        assert!(dates("2026-02-30").is_err());
    }

    #[test]
    fn a_start_without_an_offset_is_local() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        assert_eq!(start("2026-12-01T22:00", &berlin).unwrap().to_string(), "2026-12-01T21:00:00Z");
        assert_eq!(start("2026-07-01T22:00:30", &berlin).unwrap().to_string(), "2026-07-01T20:00:30Z");
        assert_eq!(start("2026-12-01T22:00Z", &berlin).unwrap().to_string(), "2026-12-01T22:00:00Z");
        assert!(start("2026-12-01", &berlin).is_err());
        assert!(start("tomorrow", &berlin).is_err());
    }
}
