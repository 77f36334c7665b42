//! Tests of texts that allocate nothing, with and without regard to letters' case.

/// Whether the capitals of a text are taken for small letters before it is tested; of ASCII alone, as CEL's `lowerAscii` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Matters,
    Folds,
}

impl Case {
    pub(super) fn same(self, text: &str, literal: &str) -> bool {
        match self {
            Self::Matters => text == literal,
            Self::Folds => folded_same(text.as_bytes(), literal.as_bytes()),
        }
    }

    pub(super) fn starts(self, text: &str, literal: &str) -> bool {
        match self {
            Self::Matters => text.as_bytes().starts_with(literal.as_bytes()),
            Self::Folds => {
                let head = text.as_bytes().get(..literal.len());
                head.is_some_and(|head| folded_same(head, literal.as_bytes()))
            }
        }
    }

    pub(super) fn ends(self, text: &str, literal: &str) -> bool {
        match self {
            Self::Matters => text.as_bytes().ends_with(literal.as_bytes()),
            Self::Folds => {
                let start = text.len().checked_sub(literal.len());
                start.is_some_and(|start| folded_same(&text.as_bytes()[start..], literal.as_bytes()))
            }
        }
    }

    pub(super) fn contains(self, text: &str, literal: &str) -> bool {
        match self {
            Self::Matters => memchr::memmem::find(text.as_bytes(), literal.as_bytes()).is_some(),
            Self::Folds if literal.is_empty() => true,
            Self::Folds => text
                .as_bytes()
                .windows(literal.len())
                .any(|window| folded_same(window, literal.as_bytes())),
        }
    }
}

/// Whether `text` is `literal` once its capitals are small letters.
fn folded_same(text: &[u8], literal: &[u8]) -> bool {
    let folded = text.iter().map(u8::to_ascii_lowercase);
    text.len() == literal.len() && folded.eq(literal.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::Case;

    #[test]
    fn folding_a_text_is_the_same_as_lowering_it_first() {
        for text in ["", "a", "AbC", "xABCx", "É", "Éa", "abcabc"] {
            let lowered = text.to_ascii_lowercase();
            for literal in ["", "a", "abc", "ABC", "é", "c"] {
                let (folds, matters) = (Case::Folds, Case::Matters);
                assert_eq!(
                    folds.same(text, literal),
                    matters.same(&lowered, literal),
                    "{text:?} is {literal:?}"
                );
                assert_eq!(
                    folds.starts(text, literal),
                    matters.starts(&lowered, literal),
                    "{text:?} starts {literal:?}"
                );
                assert_eq!(
                    folds.ends(text, literal),
                    matters.ends(&lowered, literal),
                    "{text:?} ends {literal:?}"
                );
                assert_eq!(
                    folds.contains(text, literal),
                    matters.contains(&lowered, literal),
                    "{text:?} contains {literal:?}"
                );
            }
        }
    }
}
