//! Methods that a client asks for by a header, for those who can only send GET and POST.
//!
//! A server that obeys such a header executes another method than the one that was routed and counted. So either the gateway obeys
//! it first, or nobody does: no server behind it ever sees one.

use http::header::GetAll;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use sluicegate::policy::checked::MethodOverride;

use crate::problem::Problem;

/// Makes the method what the client asks for by a header, where the policy says so. The headers themselves go with the rest that
/// [`strip_request`](super::strip_request) takes out.
///
/// # Errors
///
/// [`Problem::BadMethod`] for a POST request that asks for two methods, or for one that no form needs.
#[inline]
pub(crate) fn settle_method<B>(request: &mut Request<B>, policy: MethodOverride) -> Result<(), Problem> {
    if policy == MethodOverride::Honour && *request.method() == Method::POST {
        return obey(request);
    }
    Ok(())
}

fn obey<B>(request: &mut Request<B>) -> Result<(), Problem> {
    let asked = asked(request.headers())?;
    if let Some(method) = asked {
        *request.method_mut() = method;
    }
    Ok(())
}

fn asked(headers: &HeaderMap) -> Result<Option<Method>, Problem> {
    let lines = |name| -> GetAll<'_, HeaderValue> { headers.get_all(name) };
    let mut values = OVERRIDES.iter().flat_map(lines);
    let (Some(value), rest) = (values.next(), values) else {
        return Ok(None);
    };
    if rest.into_iter().any(|other| other != value) {
        return Err(Problem::BadMethod);
    }
    let method = [Method::PUT, Method::PATCH, Method::DELETE]
        .into_iter()
        .find(|method| value.as_bytes().eq_ignore_ascii_case(method.as_str().as_bytes()));
    method.map(Some).ok_or(Problem::BadMethod)
}

/// The headers by which frameworks know it.
static OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// Whether a header, by its name in small letters and with dashes, asks for another method.
pub(super) fn is_override(name: &str) -> bool {
    OVERRIDES.iter().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(policy: MethodOverride, method: &str, lines: &[(&str, &str)], expected: Result<&str, Problem>) {
        let mut request = Request::builder().method(method);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).expect("a test's request is one");
        let settled = settle_method(&mut request, policy).map(|()| request.method().as_str());
        assert_eq!(settled, expected, "{method} {lines:?}");
    }

    #[test]
    fn a_post_may_ask_for_another_method_where_the_policy_says_so() {
        use MethodOverride::{Honour, Strip};
        for header in ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override"] {
            check(Honour, "POST", &[(header, "DELETE")], Ok("DELETE"));
            check(Honour, "POST", &[(header, "patch")], Ok("PATCH"));
            check(Honour, "GET", &[(header, "DELETE")], Ok("GET"));
            check(Honour, "post", &[(header, "DELETE")], Ok("post"));
            check(Strip, "POST", &[(header, "DELETE")], Ok("POST"));
            for value in ["GET", "HEAD", "CONNECT", "POST", "", "DELETE, PUT"] {
                check(Honour, "POST", &[(header, value)], Err(Problem::BadMethod));
            }
        }
        let two = [("x-http-method", "PUT"), ("x-method-override", "DELETE")];
        check(Honour, "POST", &two, Err(Problem::BadMethod));
        check(Honour, "POST", &[two[0], two[0]], Ok("PUT"));
        check(Honour, "POST", &[], Ok("POST"));
    }
}
