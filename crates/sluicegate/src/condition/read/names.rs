//! Names: attributes, families of them, and what macros have named.

use cel::IdedExpr;
use cel::common::ast::{Expr, SelectExpr};
use http::HeaderName;

use super::super::Attribute;
use super::super::fault::Fault;
use super::super::kind::Kind;
use super::super::native::{Bool, Text};
use super::weight::Weight;
use super::{Form, Read, Reader, literal_text};
use crate::body::Pointer;
use crate::policy::checked::ClaimName;
use crate::policy::nearest;

/// Attributes that have names of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Header,
    Cookie,
    Query,
    Body,
    Claim,
    /// Parts of the path; `path` alone is the whole of it.
    Path,
}

impl Family {
    fn find(name: &str) -> Option<Self> {
        Some(match name {
            "header" => Self::Header,
            "cookie" => Self::Cookie,
            "query" => Self::Query,
            "body" => Self::Body,
            "claim" => Self::Claim,
            "path" => Self::Path,
            _ => return None,
        })
    }

    const fn example(self) -> &'static str {
        match self {
            Self::Header => "header[\"x-plan\"]",
            Self::Cookie => "cookie.session",
            Self::Query => "query.page",
            Self::Claim => "claim.scope",
            Self::Body => "body[\"/model\"]",
            Self::Path => "path.id",
        }
    }
}

/// What can be asked of a request, as it is written.
const NAMES: [&str; 14] = [
    "ip",
    "tenant",
    "tier",
    "user",
    "claim",
    "route",
    "sensitivity",
    "method",
    "host",
    "path",
    "header",
    "cookie",
    "query",
    "body",
];

impl Reader<'_> {
    pub(super) fn name(&mut self, name: &str) -> Result<Read, Fault> {
        if let Some(place) = self.locals.iter().rposition(|local| local.name == name) {
            let local = &self.locals[place];
            return Ok(Read {
                form: Form::Residual,
                kind: local.kind.clone(),
                weight: local.weight,
                bound: Some(place),
            });
        }
        let attribute = match name {
            "ip" => {
                self.note(Attribute::Ip);
                return Ok(Read::new(Form::Address, Kind::Address, Weight::ONE));
            }
            "tenant" => Attribute::Tenant,
            "tier" => Attribute::Tier,
            "user" => Attribute::User,
            "route" => Attribute::Route,
            "sensitivity" => Attribute::Sensitivity,
            "method" => Attribute::Method,
            "host" => Attribute::Host,
            "path" => Attribute::Path,
            _ => {
                return match Family::find(name) {
                    Some(_) => Ok(Read::new(Form::Family, Kind::Family, Weight::ONE)),
                    None => Err(self.unknown(name)),
                };
            }
        };
        Ok(self.attribute(attribute))
    }

    fn unknown(&self, name: &str) -> Fault {
        let known = NAMES
            .into_iter()
            .chain(self.locals.iter().map(|local| local.name.as_str()));
        let remedy = match nearest(name, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("ask one of {}", NAMES.join(", ")),
        };
        Fault::new(format!("`{name}` is no attribute of a request"), remedy)
    }

    fn attribute(&mut self, attribute: Attribute) -> Read {
        self.note(attribute.clone());
        Read::text(Text::Attribute(attribute), Weight::ONE)
    }

    fn note(&mut self, attribute: Attribute) {
        if !self.reads.contains(&attribute) {
            self.reads.push(attribute);
        }
    }

    /// `header.name`, `has(header.name)`.
    pub(super) fn select(&mut self, select: &SelectExpr) -> Result<Read, Fault> {
        let Some(family) = self.family(&select.operand) else {
            return Err(Fault::new(
                format!("there is nothing called `{}` to look into", select.field),
                "parts of attributes are written as in header[\"x-plan\"], query.page, path.id",
            ));
        };
        if family == Family::Header && select.field.contains('_') {
            return Err(Fault::new(
                format!(
                    "`header.{}` has an underscore, and names of headers have hyphens",
                    select.field
                ),
                format!(
                    "write header[\"{}\"], or header[\"{}\"] if that is its name",
                    select.field.replace('_', "-"),
                    select.field
                ),
            ));
        }
        let attribute = self.member(family, &select.field)?;
        if select.test {
            self.note(attribute.clone());
            return Ok(Read::bool(Bool::Has(attribute), Weight::ONE));
        }
        Ok(self.attribute(attribute))
    }

    /// `header["name"]`; `None` where it is no family that is looked into.
    pub(super) fn member_by_index(&mut self, of: &IdedExpr, index: &IdedExpr) -> Option<Result<Read, Fault>> {
        let family = self.family(of)?;
        Some(
            self.member_by_text(family, index)
                .map(|attribute| self.attribute(attribute)),
        )
    }

    /// `"name" in header`; `None` where it is no family that is looked into.
    pub(super) fn has(&mut self, name: &IdedExpr, of: &IdedExpr) -> Option<Result<Read, Fault>> {
        let family = self.family(of).filter(|family| *family != Family::Path)?;
        Some(self.member_by_text(family, name).map(|attribute| {
            self.note(attribute.clone());
            Read::bool(Bool::Has(attribute), Weight::ONE)
        }))
    }

    fn family(&self, part: &IdedExpr) -> Option<Family> {
        match &part.expr {
            Expr::Ident(name) if !self.locals.iter().any(|local| local.name == *name) => Family::find(name),
            _ => None,
        }
    }

    fn member_by_text(&self, family: Family, name: &IdedExpr) -> Result<Attribute, Fault> {
        let name = literal_text(name).ok_or_else(|| {
            Fault::new(
                "which attribute is asked has to be known before any request",
                format!("write its name in quotes, as in {}", family.example()),
            )
        })?;
        self.member(family, name)
    }

    fn member(&self, family: Family, name: &str) -> Result<Attribute, Fault> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Fault::new(
                format!("a name of {} bytes is none", name.len()),
                format!("write one such as {}", family.example()),
            ));
        }
        Ok(match family {
            Family::Header => Attribute::Header(HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                Fault::new(
                    format!("{name:?} names no header"),
                    format!("write one such as {}", family.example()),
                )
            })?),
            Family::Claim => Attribute::Claim(ClaimName::new(name).ok_or_else(|| {
                Fault::new(
                    format!("{name:?} names no claim"),
                    format!("write one such as {}", family.example()),
                )
            })?),
            Family::Cookie => Attribute::Cookie(name.into()),
            Family::Query => Attribute::Query(name.into()),
            Family::Body if !self.scope.body => {
                return Err(Fault::new(
                    "the body is not there yet where this is asked",
                    "ask what the head says, such as method, path or a header",
                ));
            }
            Family::Body => Attribute::Body(Pointer::parse(name).map_err(|error| {
                Fault::new(
                    format!("{name:?} names no member: {}", error.fault()),
                    format!("write one such as {}", family.example()),
                )
            })?),
            Family::Path => {
                if let Some(known) = self.scope.path_parts
                    && !known.contains(&name)
                {
                    let remedy = match nearest(name, known.iter().copied()) {
                        Some(meant) => format!("did you mean `path.{meant}`?"),
                        None if known.is_empty() => "name it in a route's path, as in /items/{id}".to_owned(),
                        None => format!("the parts are {}", known.join(", ")),
                    };
                    return Err(Fault::new(
                        format!("no route that this applies to has {{{name}}} in its path"),
                        remedy,
                    ));
                }
                Attribute::PathPart(name.into())
            }
        })
    }
}

/// Longest name of a header, cookie or parameter that is asked for; real ones have a few dozen bytes.
const NAME_BYTES_MAX: usize = 128;

/// Whether a name means something of a request.
pub(super) fn is_attribute(name: &str) -> bool {
    NAMES.contains(&name)
}
