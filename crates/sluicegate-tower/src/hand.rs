//! How an admitted request is handed to the inner service.

use http::Request;
use sluicegate::{Admitted, RouteId};

/// Makes the inner service's request out of an admitted one.
pub trait HandOver<B> {
    /// What the inner service takes.
    type Request;

    /// Joins the request and the proof that it was admitted.
    fn hand_over(request: Request<B>, admission: Admission) -> Self::Request;
}

/// The request as it is, with an [`Admission`] in its extensions. The default; any service over `http::Request` fits.
#[derive(Debug, Clone, Copy, Default)]
pub struct InExtensions;

/// Request and proof as one value, an [`Admit`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Together;

/// Proof that a request was admitted. Only a layer makes it.
///
/// It holds nothing: what the request holds until its answer has ended stays with the layer, so that no handler can keep a
/// permit by keeping this, or lose one by dropping it.
#[derive(Debug, Clone)]
#[must_use]
pub struct Admission {
    route: Option<RouteId>,
    generation: u32,
}

/// A request that was admitted, and the proof. A service over this type cannot be called around the limiter.
#[derive(Debug)]
pub struct Admit<B> {
    /// What the client sent.
    pub request: Request<B>,
    /// That it may pass.
    pub admission: Admission,
}

impl Admission {
    pub(crate) fn of(admitted: &Admitted) -> Self {
        Self {
            route: admitted.route(),
            generation: admitted.generation(),
        }
    }

    /// The request's route; `None` if no route takes it in.
    pub const fn route(&self) -> Option<RouteId> {
        self.route
    }

    /// Which of the policies that were in force one after another admitted it, and has numbered its route.
    pub const fn generation(&self) -> u32 {
        self.generation
    }
}

impl<B> HandOver<B> for InExtensions {
    type Request = Request<B>;

    fn hand_over(mut request: Request<B>, admission: Admission) -> Request<B> {
        request.extensions_mut().insert(admission);
        request
    }
}

impl<B> HandOver<B> for Together {
    type Request = Admit<B>;

    #[inline]
    fn hand_over(request: Request<B>, admission: Admission) -> Admit<B> {
        Admit { request, admission }
    }
}
