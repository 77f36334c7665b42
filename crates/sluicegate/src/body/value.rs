//! What a body holds at the places that were asked for, and what it costs.

use std::{fmt, str};

use arrayvec::ArrayVec;
use http::StatusCode;
use sluicegate_core::Cost;

use super::set::Set;

/// What stands at one pointer.
///
/// Its `Debug` form tells kinds and lengths only: clients' names and addresses stand here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'v> {
    /// A JSON number as it was written.
    Number(&'v str),
    /// A JSON string, unescaped.
    String(&'v str),
    /// A form's field, decoded. A form does not tell numbers from text, so it may be used as either.
    Field(&'v str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// An object or an array: no key and no cost.
    Container,
}

impl Value<'_> {
    /// The longest value that is captured, in bytes after decoding: four times the longest e-mail address (RFC 5321,
    /// section 4.5.3.1: 254), and room for most tokens. A longer one is a fault, never cut: two long names that begin
    /// alike are two names.
    pub const BYTES_MAX: usize = 1024;
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(text) => write!(f, "Number({} bytes)", text.len()),
            Self::String(text) => write!(f, "String({} bytes)", text.len()),
            Self::Field(text) => write!(f, "Field({} bytes)", text.len()),
            Self::Bool(_) => f.write_str("Bool"),
            Self::Null => f.write_str("Null"),
            Self::Container => f.write_str("Container"),
        }
    }
}

/// The units that a value asks for: whole ones only, from 0 to `u64::MAX`.
///
/// A JSON number must be written in digits alone: no sign, no fraction, no exponent, so that `1e3` and `1000.0` are not
/// taken for what another reader may take them for. A form's field is read by the same rule. A JSON string is never a
/// number, whatever it spells; neither is `null`: a caller for whom it means "not given" asks first.
///
/// # Errors
///
/// [`ValueFault::Container`] or [`ValueFault::NotUnits`].
pub fn cost_of(value: Value<'_>) -> Result<Cost, ValueFault> {
    match value {
        Value::Number(text) | Value::Field(text) => Cost::parse(text).map_err(|_| ValueFault::NotUnits),
        Value::String(_) | Value::Bool(_) | Value::Null => Err(ValueFault::NotUnits),
        Value::Container => Err(ValueFault::Container),
    }
}

/// Why a value that was read is no cost or no key. `Display` is fit for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueFault {
    /// An object or an array.
    #[error("a member that decides about this request is an object or an array")]
    Container,
    /// A cost that is not a number of whole units.
    #[error(
        "a member that says what this request costs must be a whole number from 0 to {}",
        u64::MAX
    )]
    NotUnits,
    /// A number as a key, with a fraction, an exponent or a sign on zero.
    #[error("a number that decides about this request must be written without fraction and exponent")]
    NotWhole,
}

impl ValueFault {
    /// What a door answers: 400.
    pub const fn status(self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }
}

/// What a body held at each of the pointers that it was read for.
#[derive(Debug, Clone)]
pub struct Values {
    slots: Vec<Slot>,
}

impl Values {
    /// The value at the pointer that stands at `place` in its [`Pointers`](super::Pointers), from 0; `None` if the body has
    /// nothing there.
    ///
    /// # Panics
    ///
    /// Never for a value that a reader of this crate made.
    pub fn get(&self, place: usize) -> Option<Value<'_>> {
        self.slots.get(place)?.value()
    }

    /// The values of a body that has none of the members that are looked for.
    pub fn none(pointers: &super::Pointers) -> Self {
        Self::with_room(pointers.len())
    }

    /// How many pointers there were.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Room for `count` values, which is all the memory that they will take.
    pub(super) fn with_room(count: usize) -> Self {
        let slot = |_| Slot {
            kind: Kind::Absent,
            text: ArrayVec::new(),
        };
        Self {
            slots: (0..count).map(slot).collect(),
        }
    }

    pub(super) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.kind = Kind::Absent;
            slot.text.clear();
        }
    }

    /// Adds to texts that are not yet whole.
    pub(super) fn append(&mut self, set: Set, bytes: &[u8]) -> Result<(), Full> {
        for place in set.places() {
            let slot = &mut self.slots[place];
            slot.text.try_extend_from_slice(bytes).map_err(|_| Full)?;
        }
        Ok(())
    }

    /// Says what has been found, with the text that was appended where it has one. From here on it can be got.
    pub(super) fn close(&mut self, set: Set, kind: Kind) {
        for place in set.places() {
            self.slots[place].kind = kind;
        }
    }

    /// The text appended so far; the readers look at it before they close it.
    pub(super) fn text(&self, place: usize) -> &[u8] {
        &self.slots[place].text
    }

    /// Takes over what `newer` holds, apart from `null`, which says nothing. Leaves `newer` in disorder.
    pub(super) fn overwrite_from(&mut self, newer: &mut Self) {
        for (slot, newer) in self.slots.iter_mut().zip(&mut newer.slots) {
            if !matches!(newer.kind, Kind::Absent | Kind::Null) {
                std::mem::swap(slot, newer);
            }
        }
    }
}

/// A value asked for is longer than [`Value::BYTES_MAX`].
#[derive(Debug)]
pub(super) struct Full;

/// One place and its text.
#[derive(Clone)]
struct Slot {
    kind: Kind,
    text: ArrayVec<u8, { Value::BYTES_MAX }>,
}

/// What was found at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, or nothing whole yet.
    Absent,
    Number,
    String,
    Field,
    True,
    False,
    Null,
    Container,
}

impl Slot {
    fn value(&self) -> Option<Value<'_>> {
        let text = || str::from_utf8(&self.text).expect("a reader checks a text before it closes it");
        Some(match self.kind {
            Kind::Absent => return None,
            Kind::Number => Value::Number(text()),
            Kind::String => Value::String(text()),
            Kind::Field => Value::Field(text()),
            Kind::True => Value::Bool(true),
            Kind::False => Value::Bool(false),
            Kind::Null => Value::Null,
            Kind::Container => Value::Container,
        })
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} bytes)", self.kind, self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_cost(value: Value<'_>, expected: Result<u64, ValueFault>) {
        assert_eq!(cost_of(value).map(Cost::units), expected);
    }

    #[test]
    fn a_cost_is_whole_units_in_plain_digits() {
        check_cost(Value::Number("0"), Ok(0));
        check_cost(Value::Number("8000"), Ok(8000));
        check_cost(Value::Number("18446744073709551615"), Ok(u64::MAX));
        check_cost(Value::Field("8000"), Ok(8000));
        for text in [
            "-1",
            "-0",
            "1.5",
            "1.0",
            "1e3",
            "1E3",
            "1e309",
            "18446744073709551616",
            "9".repeat(1000).as_str(),
        ] {
            check_cost(Value::Number(text), Err(ValueFault::NotUnits));
            check_cost(Value::Field(text), Err(ValueFault::NotUnits));
        }
        for text in ["", "+5", " 5", "5 ", "0x10", "NaN", "Infinity", "٣", "5k", "1_000"] {
            check_cost(Value::Field(text), Err(ValueFault::NotUnits));
        }
    }

    #[test]
    fn what_is_no_number_is_no_cost_even_if_it_spells_one() {
        for value in [Value::String("5"), Value::String("NaN"), Value::Bool(true), Value::Null] {
            check_cost(value, Err(ValueFault::NotUnits));
        }
        check_cost(Value::Container, Err(ValueFault::Container));
    }

    #[test]
    fn what_is_shown_in_a_log_is_never_what_the_client_wrote() {
        let mut values = Values::with_room(1);
        let all = Set::first(1);
        values.append(all, b"alice").expect("it fits");
        values.close(all, Kind::String);
        assert_eq!(values.get(0), Some(Value::String("alice")));
        assert_eq!(format!("{:?}", values.get(0)), "Some(String(5 bytes))");
        assert!(!format!("{values:?}").contains("alice"));
    }
}
