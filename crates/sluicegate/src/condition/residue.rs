//! The part of an expression that is left to CEL's interpreter: what makes and walks lists.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use cel::common::ast::Expr;
use cel::common::types::{CelBool, CelInt, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::objects::Value;
use cel::{Context, Env, IdedExpr};

use super::native::{Bool, Int, Text};
use super::{Facts, NoValue};

/// An expression of CEL in which everything that could be made native stands as a name, `@0` and so on.
#[derive(Clone)]
pub(super) struct Residue {
    expression: IdedExpr,
    slots: Vec<Slot>,
}

/// What such a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Slot {
    Bool(Bool),
    Int(Int),
    Text(Text),
}

thread_local! {
    /// CEL's functions: one for each thread, since all that ask count its users in one place.
    static ENV: Arc<Env> = {
        let mut env = Env::stdlib();
        // For `lowerAscii`. It fails only on a name that is there twice.
        let _ = env.add_extension(cel::extensions::strings);
        Arc::new(env)
    };
}

impl Residue {
    pub(super) const fn new(expression: IdedExpr, slots: Vec<Slot>) -> Self {
        Self { expression, slots }
    }

    pub(super) fn truth(&self, facts: &dyn Facts) -> Result<bool, NoValue> {
        self.evaluate(facts, |value| {
            value.downcast_ref::<CelBool>().map(|value| *value.inner())
        })
    }

    pub(super) fn number(&self, facts: &dyn Facts) -> Result<i64, NoValue> {
        self.evaluate(facts, |value| {
            value.downcast_ref::<CelInt>().map(|value| *value.inner())
        })
    }

    pub(super) fn text(&self, facts: &dyn Facts) -> Result<String, NoValue> {
        self.evaluate(facts, |value| {
            value
                .downcast_ref::<CelString<'_>>()
                .map(|value| value.inner().to_owned())
        })
    }

    #[cold]
    fn evaluate<T>(
        &self,
        facts: &dyn Facts,
        look: impl for<'b, 'v> FnOnce(&CowVal<'b, 'v>) -> Option<T>,
    ) -> Result<T, NoValue> {
        let values = Values(self.slots.iter().map(|slot| slot.value(facts)).collect());
        let mut context = Context::with_env(ENV.with(Arc::clone));
        context.set_variable_resolver(&values);
        let value = Value::resolve_val(&self.expression, &context).map_err(|_| NoValue)?;
        look(&value).ok_or(NoValue)
    }
}

impl fmt::Debug for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Residue")
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

/// The name of a slot; no identifier of CEL begins like it.
pub(super) fn name(slot: usize) -> Expr {
    Expr::Ident(format!("@{slot}"))
}

impl Slot {
    fn value<'a>(&'a self, facts: &'a dyn Facts) -> Option<SlotValue<'a>> {
        match self {
            Self::Bool(node) => node.holds(facts).ok().map(SlotValue::Bool),
            Self::Int(node) => node.value(facts).ok().map(SlotValue::Int),
            Self::Text(node) => node.value(facts).ok().map(SlotValue::Text),
        }
    }
}

/// What the names stand for in one request.
struct Values<'a>(Vec<Option<SlotValue<'a>>>);

enum SlotValue<'a> {
    Bool(bool),
    Int(i64),
    Text(Cow<'a, str>),
}

impl VariableResolver for Values<'_> {
    /// A name without a value is one that the interpreter does not know, which has no value either.
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let slot: usize = variable.strip_prefix('@')?.parse().ok()?;
        Some(match self.0.get(slot)?.as_ref()? {
            SlotValue::Bool(value) => CowVal::owned(CelBool::from(*value)),
            SlotValue::Int(value) => CowVal::owned(CelInt::from(*value)),
            SlotValue::Text(text) => CowVal::owned(CelString::from(&**text)),
        })
    }
}
