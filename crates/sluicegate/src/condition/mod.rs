//! Conditions and amounts in CEL: read and judged once, at load, then asked for each request.
//!
//! ```text
//!  text ──parse (cel)──► syntax tree ──read──► native matchers, and what is left to the interpreter
//!                             └──► Fault: a name, an operand or a value that makes no sense
//!  request ──Facts──────────────────────────► Condition::holds, Amount::of
//! ```
//!
//! Every name, type and value is judged when the policy is read, so that nothing of it can go wrong later but what a request itself
//! brings: a text that is no number, a division by zero, a header that is no text.
//!
//! Source: the language definition of CEL (github.com/google/cel-spec), without fractions, bytes, times and messages.

mod attribute;
mod fault;
mod kind;
mod native;
mod read;
mod residue;
mod text;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use std::borrow::Cow;

pub use attribute::Attribute;
pub(crate) use fault::Fault;
use native::{Bool, Int};
pub(crate) use read::Scope;

/// Most bytes of one expression: five lines of it. A longer one is a program, which nobody can check by eye.
pub const EXPRESSION_BYTES_MAX: usize = 2_048;

/// Most steps that one expression may take for a request, as counted when it is read: an interpreted one then ends within about a
/// tenth of a millisecond, whatever a client sends.
pub const EXPRESSION_STEPS_MAX: u64 = 1_000;

/// A question about a request that is answered by yes or no.
#[derive(Clone)]
pub struct Condition(Arc<Expression<Bool>>);

/// A number that is reckoned from a request.
#[derive(Clone)]
pub struct Amount(Arc<Expression<Int>>);

/// An expression, made ready.
struct Expression<N> {
    source: Box<str>,
    root: N,
    reads: Box<[Attribute]>,
    is_native: bool,
}

/// Why an expression has no value for a request: the request brought something that it cannot be reckoned with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoValue;

/// What an expression asks a request. What is not there is an empty text.
pub(crate) trait Facts {
    /// An attribute's text; `NoValue` where what stands there is no text.
    fn text(&self, attribute: &Attribute) -> Result<Cow<'_, str>, NoValue>;

    /// Whether the request has it.
    fn has(&self, attribute: &Attribute) -> bool;

    /// The client's whole address.
    fn address(&self) -> Option<IpAddr>;
}

impl Condition {
    /// Reads a condition.
    pub(crate) fn read(text: &str, scope: &Scope<'_>) -> Result<Self, Fault> {
        let expression = read::condition(text, scope)?;
        Ok(Self(Arc::new(expression)))
    }

    /// Whether it holds for a request.
    #[inline]
    pub(crate) fn holds(&self, facts: &dyn Facts) -> Result<bool, NoValue> {
        self.0.root.holds(facts)
    }

    /// The text that it was read from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What it asks of a request, without repetition.
    pub fn reads(&self) -> &[Attribute] {
        &self.0.reads
    }

    /// Whether no part of it is left to the interpreter: it then costs some ten nanoseconds and allocates nothing.
    pub fn is_native(&self) -> bool {
        self.0.is_native
    }
}

impl Amount {
    /// Reads an amount.
    pub(crate) fn read(text: &str, scope: &Scope<'_>) -> Result<Self, Fault> {
        let expression = read::amount(text, scope)?;
        Ok(Self(Arc::new(expression)))
    }

    /// The number for a request; `NoValue` also where it is below zero.
    pub(crate) fn of(&self, facts: &dyn Facts) -> Result<u64, NoValue> {
        u64::try_from(self.0.root.value(facts)?).map_err(|_| NoValue)
    }

    /// The text that it was read from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What it asks of a request, without repetition.
    pub fn reads(&self) -> &[Attribute] {
        &self.0.reads
    }
}

/// Two are equal that were read from one text.
impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Condition {}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.source())
    }
}

/// Two are equal that were read from one text.
impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Amount {}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Amount({:?})", self.source())
    }
}

#[cfg(test)]
mod tests;
