//! How an admitted request is handed to the inner service.

use std::sync::Arc;

use http::Request;
use sluicegate::Admitted;

/// Makes the inner service's request out of an admitted one.
pub trait HandOver<B> {
    /// What the inner service takes.
    type Request;

    /// Joins the request and the proof that it was admitted.
    fn hand_over(request: Request<B>, admitted: Admitted) -> Self::Request;
}

/// The request as it is, with an [`Admission`] in its extensions. The default; any service over `http::Request` fits.
#[derive(Debug, Clone, Copy, Default)]
pub struct InExtensions;

/// Request and proof as one value, an [`Admit`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Together;

/// The proof of admission in a request's extensions; clones share it.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Admitted>);

/// A request that was admitted, and the proof. Only the limiter makes proofs, so that a service over this type cannot
/// be called around it.
#[derive(Debug)]
pub struct Admit<B> {
    /// What the client sent.
    pub request: Request<B>,
    /// That it may pass.
    pub admitted: Admitted,
}

impl Admission {
    /// The proof.
    pub fn admitted(&self) -> &Admitted {
        &self.0
    }
}

impl<B> HandOver<B> for InExtensions {
    type Request = Request<B>;

    fn hand_over(mut request: Request<B>, admitted: Admitted) -> Request<B> {
        request.extensions_mut().insert(Admission(Arc::new(admitted)));
        request
    }
}

impl<B> HandOver<B> for Together {
    type Request = Admit<B>;

    #[inline]
    fn hand_over(request: Request<B>, admitted: Admitted) -> Admit<B> {
        Admit { request, admitted }
    }
}
