//! What is under way, on the standard error, so that the report alone stands on the standard output.

/// Says what begins now.
pub(crate) fn tell(bench: &str, what: &str) {
    eprintln!("{bench}: {what}");
}
