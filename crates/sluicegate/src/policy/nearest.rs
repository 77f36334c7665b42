//! The name that was probably meant.

/// The candidate that differs from `word` by the fewest slips of the hand (a letter wrong, missing, too many, or two
/// swapped), if that is few enough for the length; of equals the first.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.chars().take(WORD_MAX + 1).collect();
    if word.len() > WORD_MAX {
        return None;
    }
    // One slip in three letters may still be the word; more is another word.
    let slips_max = word.len().div_ceil(3).min(SLIPS_MAX);
    candidates
        .into_iter()
        .filter_map(|candidate| Some((slips(&word, candidate, slips_max)?, candidate)))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Longest word that is compared: names here have at most 64 bytes.
const WORD_MAX: usize = 64;

/// Most slips that still count as the same word.
const SLIPS_MAX: usize = 3;

/// The distance of Damerau and Levenshtein (optimal string alignment), letters' case aside; `None` above `most`.
fn slips(word: &[char], candidate: &str, most: usize) -> Option<usize> {
    let other: Vec<char> = candidate.chars().take(WORD_MAX).collect();
    if word.len().abs_diff(other.len()) > most {
        return None;
    }
    // Three rows of the table: two back (for swaps), the last, and the one in hand.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in word.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let same = a.eq_ignore_ascii_case(b);
            let mut least = (last[j] + usize::from(!same)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a.eq_ignore_ascii_case(&other[j - 1]) && word[i - 1].eq_ignore_ascii_case(b) {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        if row.iter().all(|slips| *slips > most) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|slips| *slips <= most)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_hand_finds_the_word_and_another_word_does_not() {
        let fields = ["name", "key", "limit", "routes", "on_missing_key", "enforce"];
        for (typed, meant) in [
            ("limt", Some("limit")),
            ("lmiit", Some("limit")),
            ("Limit", Some("limit")),
            ("route", Some("routes")),
            ("on_mising_key", Some("on_missing_key")),
            ("kye", Some("key")),
            ("shadow", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, fields), meant, "{typed:?}");
        }
        assert_eq!(nearest(&"n".repeat(10_000), fields), None);
    }
}
