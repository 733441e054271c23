//! Names that may have been meant.

use crate::model::edits;

/// The most names that are offered.
const MOST: usize = 5;
/// The most names that are looked at, and the longest: this is done for whoever asks for what is not there.
const MOST_COMPARED: usize = 5_000;
const LONGEST: usize = 128;

/// Those of `names` that resemble `wanted`, the most alike first. Each comes with the shorter text that it may be known by.
pub(super) fn near<'a>(wanted: &str, names: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    if wanted.len() > LONGEST {
        return Vec::new();
    }
    let wanted = wanted.to_lowercase();
    let mut alike: Vec<_> = names
        .take(MOST_COMPARED)
        .filter_map(|(name, short)| {
            let distance = [name, short].into_iter().filter_map(|text| distance(&wanted, text)).min()?;
            Some((distance, name))
        })
        .collect();
    alike.sort_unstable();
    alike.into_iter().take(MOST).map(|(_, name)| name.to_owned()).collect()
}

/// How unlike they are, where they are alike at all.
fn distance(wanted: &str, text: &str) -> Option<usize> {
    if text.len() > LONGEST {
        return None;
    }
    let text = text.to_lowercase();
    if text == wanted {
        return Some(0);
    }
    let most = 1 + wanted.len().min(text.len()) / 4;
    let slips = (wanted.len().abs_diff(text.len()) <= most).then(|| edits(wanted, &text));
    match slips {
        Some(slips) if slips <= most => Some(slips),
        // A part of a name that is long enough to say something.
        _ if wanted.len().min(text.len()) >= 3 && (text.contains(wanted) || wanted.contains(&text)) => Some(LONGEST),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_other_cases_and_parts_are_found() {
        let known = [("fs__read_file", "read_file"), ("fs__write_file", "write_file"), ("time__now", "now")];
        for (wanted, expected) in [
            ("READ_FILE", &["fs__read_file"][..]),
            ("read_fiel", &["fs__read_file"]),
            ("fs__raed_file", &["fs__read_file", "fs__write_file"]),
            ("file", &["fs__read_file", "fs__write_file"]),
            ("time", &["time__now"]),
            ("on", &[]),
            ("", &[]),
            ("something_else", &[]),
        ] {
            assert_eq!(near(wanted, known.into_iter()), expected, "{wanted}");
        }
        assert_eq!(near(&"read_file".repeat(100), known.into_iter()), [""; 0]);
        assert_eq!(near("same", (0..9).map(|_| ("a__same", "same"))).len(), MOST);
    }
}
