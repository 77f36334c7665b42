//! What an expression can ask of a request.

use std::fmt;

use http::HeaderName;

use crate::body::Pointer;
use crate::policy::checked::ClaimName;

/// One attribute of a request, as an expression names it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// The client's address, whole.
    Ip,
    /// The tenant that a verified caller belongs to.
    Tenant,
    /// The tier of a verified caller.
    Tier,
    /// The user that a verified token names.
    User,
    /// A claim about a verified caller.
    Claim(ClaimName),
    /// The name of the route.
    Route,
    /// The route's class.
    Sensitivity,
    /// The method.
    Method,
    /// The canonical host.
    Host,
    /// The path.
    Path,
    /// What a parameter of the route's path stands for.
    PathPart(Box<str>),
    /// A header's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(Box<str>),
    /// A parameter of the query, decoded.
    Query(Box<str>),
    /// A member of the body.
    Body(Pointer),
}

impl Attribute {
    /// Whether a client can send any number of values for it.
    pub const fn is_typed(&self) -> bool {
        match self {
            // Of these somebody has verified some, and the others are few.
            Self::Ip
            | Self::Tenant
            | Self::Tier
            | Self::User
            | Self::Claim(_)
            | Self::Route
            | Self::Sensitivity
            | Self::Method => false,
            Self::Host
            | Self::Path
            | Self::PathPart(_)
            | Self::Header(_)
            | Self::Cookie(_)
            | Self::Query(_)
            | Self::Body(_) => true,
        }
    }
}

/// As keys write it.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip => f.write_str("ip"),
            Self::Tenant => f.write_str("tenant"),
            Self::Tier => f.write_str("tier"),
            Self::User => f.write_str("user"),
            Self::Claim(name) => write!(f, "claim.{name}"),
            Self::Route => f.write_str("route"),
            Self::Sensitivity => f.write_str("sensitivity"),
            Self::Method => f.write_str("method"),
            Self::Host => f.write_str("host"),
            Self::Path => f.write_str("path"),
            Self::PathPart(name) => write!(f, "path.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Cookie(name) => write!(f, "cookie.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Body(pointer) => write!(f, "body.{}", pointer.as_str()),
        }
    }
}
