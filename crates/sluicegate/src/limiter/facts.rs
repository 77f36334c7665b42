//! What conditions and amounts ask of a request's attributes.

use std::borrow::Cow;
use std::net::IpAddr;

use super::attributes::Attributes;
use crate::body::Value;
use crate::condition::{Attribute, Facts, NoValue};

impl Facts for Attributes<'_> {
    fn text(&self, attribute: &Attribute) -> Result<Cow<'_, str>, NoValue> {
        Ok(match attribute {
            Attribute::Tenant => Cow::Borrowed(self.caller().tenant().unwrap_or_default()),
            Attribute::Tier => Cow::Borrowed(self.caller().tier().unwrap_or_default()),
            Attribute::User => Cow::Borrowed(self.caller().user().unwrap_or_default()),
            Attribute::Claim(name) => Cow::Borrowed(self.caller().claim(name.as_str()).unwrap_or_default()),
            Attribute::Route => Cow::Borrowed(&self.route.name),
            Attribute::Sensitivity => Cow::Borrowed(self.route.sensitivity.as_str()),
            Attribute::Method => Cow::Borrowed(self.method.as_str()),
            Attribute::Host => Cow::Borrowed(self.host),
            Attribute::Path => Cow::Borrowed(self.path),
            Attribute::PathPart(name) => Cow::Borrowed(self.path_part(name).unwrap_or_default()),
            Attribute::Header(name) => match self.header(name).one() {
                Some(value) => Cow::Borrowed(text(value.as_bytes().trim_ascii())?),
                None => Cow::Borrowed(""),
            },
            Attribute::Cookie(name) => Cow::Borrowed(text(self.cookie(name).one().unwrap_or_default())?),
            Attribute::Query(name) => match self.parameter(name).one() {
                Some(Cow::Borrowed(bytes)) => Cow::Borrowed(text(bytes)?),
                Some(Cow::Owned(bytes)) => Cow::Owned(String::from_utf8(bytes).map_err(|_| NoValue)?),
                None => Cow::Borrowed(""),
            },
            Attribute::Body(pointer) => match self.member(pointer) {
                Some(Value::Number(text) | Value::String(text) | Value::Field(text)) => Cow::Borrowed(text),
                Some(Value::Bool(true)) => Cow::Borrowed("true"),
                Some(Value::Bool(false)) => Cow::Borrowed("false"),
                Some(Value::Container) => return Err(NoValue),
                Some(Value::Null) | None => Cow::Borrowed(""),
            },
            // Conditions ask for the address as such.
            Attribute::Ip => return Err(NoValue),
        })
    }

    fn has(&self, attribute: &Attribute) -> bool {
        match attribute {
            Attribute::Header(name) => self.header(name).one().is_some(),
            Attribute::Cookie(name) => self.cookie(name).one().is_some(),
            Attribute::Query(name) => self.parameter(name).one().is_some(),
            Attribute::Body(pointer) => !matches!(self.member(pointer), None | Some(Value::Null)),
            Attribute::Ip => self.whole_address().is_some(),
            other => self.text(other).is_ok_and(|text| !text.is_empty()),
        }
    }

    #[inline]
    fn address(&self) -> Option<IpAddr> {
        self.whole_address()
    }
}

fn text(bytes: &[u8]) -> Result<&str, NoValue> {
    std::str::from_utf8(bytes).map_err(|_| NoValue)
}
