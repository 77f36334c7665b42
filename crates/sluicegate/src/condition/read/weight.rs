//! What a part of an expression may cost at most, as far as that can be told before any request.

/// A part's bounds. Sums and products saturate: beyond the largest number is beyond every limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    /// Steps of the interpreter, or nodes of our own.
    pub(super) steps: u64,
    /// Texts that the text was put together from; of a list, that any of its items was.
    pub(super) pieces: u64,
    /// Items of a list or a map.
    pub(super) items: u64,
    /// How deep its parts lie in each other.
    pub(super) depth: u64,
}

impl Weight {
    pub(super) const ONE: Self = Self {
        steps: 1,
        pieces: 1,
        items: 0,
        depth: 1,
    };

    /// Of an operation on some parts whose result is no longer than the longest of them.
    pub(super) fn of(parts: &[Self]) -> Self {
        Self {
            steps: parts.iter().fold(1, |sum, part| part.steps.saturating_add(sum)),
            pieces: parts.iter().map(|part| part.pieces).max().unwrap_or(1),
            items: parts.iter().map(|part| part.items).max().unwrap_or(0),
            depth: parts.iter().map(|part| part.depth).max().unwrap_or(0).saturating_add(1),
        }
    }

    /// Of an operation that puts two parts together.
    pub(super) fn joined(one: Self, two: Self) -> Self {
        Self {
            pieces: one.pieces.saturating_add(two.pieces),
            items: one.items.saturating_add(two.items),
            ..Self::of(&[one, two])
        }
    }

    /// Of one item of a list.
    pub(super) const fn item(self) -> Self {
        Self {
            steps: 1,
            items: 0,
            depth: 1,
            ..self
        }
    }

    /// Of what is done for each item of `range`, which costs `each`.
    pub(super) fn walk(range: Self, each: Self, ends: Self) -> Self {
        let steps = range.items.saturating_mul(each.steps);
        Self {
            steps: range
                .steps
                .saturating_add(ends.steps)
                .saturating_add(steps)
                .saturating_add(1),
            pieces: each.pieces.max(range.pieces),
            items: range.items,
            depth: Self::of(&[range, each, ends]).depth,
        }
    }
}

/// Most texts that one text may be put together from: with them a kibibyte becomes at most 16.
pub(super) const PIECES_MAX: u64 = 16;
