//! The text of a limit: what it reads it can write, and what it writes reads back the same.

use std::str;

use sluicegate_core::Limit;

/// What limits are made of, and what almost is.
pub const DICTIONARY: &[&str] = &[
    "/s",
    "/min",
    "/ms",
    "/h",
    "/d",
    "/w",
    " per ",
    "15min",
    "3660d",
    " burst ",
    "k",
    "M",
    "m",
    "0",
    "1",
    "18446744073709551615",
    "18446744073709551616",
    "1000000000",
    "\u{a0}",
    "\u{661}",
    "é",
    "-1",
    "1e3",
    "0x10",
    "\t",
];

/// # Panics
///
/// When a limit does not survive being written and read, or a fault points outside the text or between two bytes of one
/// character, or says nothing.
pub fn target(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match text.parse::<Limit>() {
        Ok(limit) => {
            let written = limit.to_string();
            let read = written.parse::<Limit>();
            assert_eq!(read.as_ref(), Ok(&limit), "{text:?} was written as {written:?}");
            assert_eq!(
                read.map(|limit| limit.to_string()),
                Ok(written),
                "the canonical text is not stable"
            );
            assert!(
                limit.period() <= Limit::PERIOD_MAX,
                "{text:?} has a period beyond the longest"
            );
        }
        Err(error) => {
            assert!(
                text.get(error.span()).is_some(),
                "{text:?}: no such span: {:?}",
                error.span()
            );
            assert!(
                !error.to_string().is_empty() && !error.remedy().is_empty(),
                "{text:?}: a fault without words"
            );
        }
    }
}
