//! Why a request's body cannot be had, and what its client is told.

use std::error::Error;

use http::StatusCode;
use sluicegate::Refusal;
use sluicegate::body::ReadFault;

/// Why a request's body cannot be had: the client's fault, and told to it.
///
/// A server whose bodies fail with this error, or have it among their sources, says which answer fits; any other error of a
/// body is taken for [`BodyFault::Broken`]. `Display` is fit for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyFault {
    /// It is larger than its cap.
    #[error("the request's body is larger than this server takes")]
    TooLarge,
    /// It stopped coming, or took too long.
    #[error("the request's body stopped coming")]
    Late,
    /// It broke off, or its framing did.
    #[error("the request's body broke off or is not framed as HTTP asks")]
    Broken,
    /// A rule needs it, and cannot read it.
    #[error(transparent)]
    Unreadable(#[from] ReadFault),
}

impl BodyFault {
    /// What an error of a body says, somewhere down its sources.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(fault) = error.downcast_ref::<Self>() {
                return Some(*fault);
            }
            cause = error.source();
        }
        None
    }

    /// The answer's status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Unreadable(fault) => fault.status(),
        }
    }

    /// The whole answer.
    pub(crate) fn refusal(&self) -> Refusal {
        Refusal::plain(self.status(), &self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] Box<dyn Error + Send + Sync>);

    #[test]
    fn a_fault_is_found_behind_other_errors() {
        for fault in [BodyFault::Late, BodyFault::Unreadable(ReadFault::CutOff)] {
            let error = Wrapped(Box::new(Wrapped(Box::new(fault))));
            assert_eq!(BodyFault::of(&error), Some(fault));
        }
        assert_eq!(BodyFault::of(&Wrapped("other".into())), None);
    }
}
