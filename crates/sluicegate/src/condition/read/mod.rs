//! From a text to an expression: each part's kind is found, what it asks is known, and its cost is bounded.

mod calls;
mod lists;
mod names;
mod weight;

use std::collections::HashMap;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use cel::parser::Parser;

use super::fault::Fault;
use super::kind::Kind;
use super::native::{Bool, Int, Text};
use super::residue::{self, Residue, Slot};
use super::{Attribute, EXPRESSION_BYTES_MAX, EXPRESSION_STEPS_MAX, Expression};
use weight::Weight;

/// What an expression may ask where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// Names of all routes; `None` where they are not known.
    pub(crate) routes: Option<&'a [&'a str]>,
    /// Parameters of the paths of those routes that it applies to; `None` where they are not known.
    pub(crate) path_parts: Option<&'a [&'a str]>,
    /// Whether it may wait for the body.
    pub(crate) body: bool,
}

pub(super) fn condition(text: &str, scope: &Scope<'_>) -> Result<Expression<Bool>, Fault> {
    apart(|| condition_here(text, scope))
}

pub(super) fn amount(text: &str, scope: &Scope<'_>) -> Result<Expression<Int>, Fault> {
    apart(|| amount_here(text, scope))
}

/// Does something in a thread of its own: the parser calls itself more deeply than the stack of any thread allows, and a defect in
/// it must not end the program that reads its policy anew.
fn apart<T: Send>(read: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
    let refused = || Fault::new("it could not be read", "write it in another way, and report this");
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("condition".to_owned());
        let reading = builder.stack_size(STACK_BYTES).spawn_scoped(scope, read);
        reading.map_err(|_| refused())?.join().map_err(|_| refused())?
    })
}

/// Stack of the reader, of which only what is used becomes memory: four times what the deepest expression takes in a build without
/// optimisation.
const STACK_BYTES: usize = 32 << 20;

fn condition_here(text: &str, scope: &Scope<'_>) -> Result<Expression<Bool>, Fault> {
    let tree = parse(text)?;
    let mut reader = Reader::new(scope);
    let read = reader.read(&tree)?;
    let kind = read.kind.clone();
    let root = reader.bool_of(read, &tree);
    let root = root.ok_or_else(|| Fault::kind("the condition", &kind, &Kind::Bool))?;
    Ok(reader.finish(text, root))
}

fn amount_here(text: &str, scope: &Scope<'_>) -> Result<Expression<Int>, Fault> {
    let tree = parse(text)?;
    let mut reader = Reader::new(scope);
    let read = reader.read(&tree)?;
    let kind = read.kind.clone();
    let root = reader.int_of(read, &tree);
    let root = root.ok_or_else(|| Fault::kind("the amount", &kind, &Kind::Int))?;
    Ok(reader.finish(text, root))
}

fn parse(text: &str) -> Result<IdedExpr, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new(
            "there is nothing in it",
            "write one such as method == \"POST\"",
        ));
    }
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(Fault::new(
            format!("the expression has {} bytes", text.len()),
            format!("keep it to {EXPRESSION_BYTES_MAX}; several rules or entries can share the work"),
        ));
    }
    // Counted before it is read, so that no text can make the parser call itself without end.
    if text
        .bytes()
        .filter(|byte| matches!(byte, b'(' | b'[' | b'{' | b'?' | b'!' | b'-'))
        .count()
        > OPENINGS_MAX
    {
        return Err(Fault::new(
            format!("the expression has more than {OPENINGS_MAX} brackets and signs"),
            "keep it simpler; several rules or entries can share the work",
        ));
    }
    let parser = Parser::new()
        .max_recursion_depth(NESTING_MAX)
        .enable_ident_escape_syntax(true);
    parser.parse(text).map_err(|errors| {
        let said = errors.errors.first().map_or_else(String::new, |error| {
            // The parser lists all that it would have taken, which helps nobody.
            let said = error.msg.split(" expecting ").next().unwrap_or_default();
            let said = said.strip_prefix("Syntax error: ").unwrap_or(said);
            match error.pos.1 {
                column @ 1.. => format!(": {said} at its character {column}"),
                _ => format!(": {said}"),
            }
        });
        Fault::new(
            format!("it is no expression of CEL{said}"),
            "write one such as method == \"POST\" && path.startsWith(\"/search\")",
        )
    })
}

/// How deep brackets may lie in each other; what people write has three or four levels.
const NESTING_MAX: u16 = 24;

/// How deep parts of an expression may lie in each other, each sum being one level: so deep the stack of whoever asks is used.
const DEPTH_MAX: u64 = 48;

/// Most brackets and signs of one expression, over all levels.
const OPENINGS_MAX: usize = 256;

/// Reads one expression.
struct Reader<'s> {
    scope: &'s Scope<'s>,
    /// What was found of each part, by its number in the tree.
    memo: HashMap<u64, Read>,
    /// What macros have named around the part in hand, the outermost first.
    locals: Vec<Local>,
    reads: Vec<Attribute>,
    is_native: bool,
}

struct Local {
    name: String,
    kind: Kind,
    weight: Weight,
}

/// What was found of one part.
#[derive(Debug, Clone)]
struct Read {
    form: Form,
    kind: Kind,
    weight: Weight,
    /// The outermost of the macros' names that it uses, by its place in [`Reader::locals`].
    bound: Option<usize>,
}

#[derive(Debug, Clone)]
enum Form {
    Bool(Bool),
    Int(Int),
    Text(Text),
    /// The client's address.
    Address,
    Family,
    /// For the interpreter.
    Residual,
}

impl Read {
    fn new(form: Form, kind: Kind, weight: Weight) -> Self {
        Self {
            form,
            kind,
            weight,
            bound: None,
        }
    }

    fn bool(node: Bool, weight: Weight) -> Self {
        Self::new(Form::Bool(node), Kind::Bool, weight)
    }

    fn int(node: Int, weight: Weight) -> Self {
        Self::new(Form::Int(node), Kind::Int, weight)
    }

    fn text(node: Text, weight: Weight) -> Self {
        Self::new(Form::Text(node), Kind::Text, weight)
    }

    /// What only the interpreter can do with some parts.
    fn residual(kind: Kind, weight: Weight, parts: &[&Read]) -> Self {
        Self {
            form: Form::Residual,
            kind,
            weight,
            bound: parts.iter().filter_map(|part| part.bound).min(),
        }
    }
}

impl<'s> Reader<'s> {
    fn new(scope: &'s Scope<'s>) -> Self {
        Self {
            scope,
            memo: HashMap::new(),
            locals: Vec::new(),
            reads: Vec::new(),
            is_native: true,
        }
    }

    fn finish<N>(self, text: &str, root: N) -> Expression<N> {
        Expression {
            source: text.into(),
            root,
            reads: self.reads.into(),
            is_native: self.is_native,
        }
    }

    fn read(&mut self, part: &IdedExpr) -> Result<Read, Fault> {
        if let Some(read) = self.memo.get(&part.id) {
            return Ok(read.clone());
        }
        let read = match &part.expr {
            Expr::Literal(literal) => literal_of(literal)?,
            Expr::Ident(name) => self.name(name)?,
            Expr::Select(select) => self.select(select)?,
            Expr::Call(call) => self.call(call)?,
            Expr::List(list) => self.list(list)?,
            Expr::Map(map) => self.map(map)?,
            Expr::Comprehension(walk) => self.walk(walk)?,
            Expr::Struct(_) | Expr::Unspecified => {
                return Err(Fault::new(
                    "messages of types are no part of conditions here",
                    "ask attributes of the request, as in method == \"POST\"",
                ));
            }
        };
        if read.weight.steps > EXPRESSION_STEPS_MAX {
            return Err(Fault::new(
                format!("it may take {} steps for one request", read.weight.steps),
                format!("keep it to {EXPRESSION_STEPS_MAX}; each item of a list costs what is asked of it"),
            ));
        }
        if read.weight.depth > DEPTH_MAX {
            return Err(Fault::new(
                format!("its parts lie {DEPTH_MAX} deep in each other, and more"),
                "keep it simpler; several rules or entries can share the work",
            ));
        }
        self.memo.insert(part.id, read.clone());
        Ok(read)
    }

    /// As a node of its kind; `None` of another kind, or where it uses what a macro named.
    fn bool_of(&mut self, read: Read, part: &IdedExpr) -> Option<Bool> {
        match read.form {
            Form::Bool(node) => Some(node),
            Form::Residual if read.kind == Kind::Bool && read.bound.is_none() => {
                Some(Bool::Interpreted(Box::new(self.residue(part))))
            }
            _ => None,
        }
    }

    fn int_of(&mut self, read: Read, part: &IdedExpr) -> Option<Int> {
        match read.form {
            Form::Int(node) => Some(node),
            Form::Residual if read.kind == Kind::Int && read.bound.is_none() => {
                Some(Int::Interpreted(Box::new(self.residue(part))))
            }
            _ => None,
        }
    }

    fn text_of(&mut self, read: Read, part: &IdedExpr) -> Option<Text> {
        match read.form {
            Form::Text(node) => Some(node),
            Form::Residual if read.kind == Kind::Text && read.bound.is_none() => {
                Some(Text::Interpreted(Box::new(self.residue(part))))
            }
            _ => None,
        }
    }

    /// Leaves a part to the interpreter, but for what is native in it.
    fn residue(&mut self, part: &IdedExpr) -> Residue {
        self.is_native = false;
        let mut slots = Vec::new();
        let expression = self.rewritten(part, &mut slots);
        Residue::new(expression, slots)
    }

    fn rewritten(&self, part: &IdedExpr, slots: &mut Vec<Slot>) -> IdedExpr {
        let slot = match self.memo.get(&part.id).map(|read| &read.form) {
            _ if matches!(part.expr, Expr::Literal(_)) => None,
            Some(Form::Bool(node)) => Some(Slot::Bool(node.clone())),
            Some(Form::Int(node)) => Some(Slot::Int(node.clone())),
            Some(Form::Text(node)) => Some(Slot::Text(node.clone())),
            _ => None,
        };
        let expr = match slot {
            Some(slot) => {
                slots.push(slot);
                residue::name(slots.len() - 1)
            }
            None => self.rewritten_parts(&part.expr, slots),
        };
        IdedExpr { id: part.id, expr }
    }

    fn rewritten_parts(&self, expr: &Expr, slots: &mut Vec<Slot>) -> Expr {
        let mut expr = expr.clone();
        match &mut expr {
            Expr::Call(call) => {
                for part in call.target.iter_mut().map(|target| &mut **target).chain(&mut call.args) {
                    *part = self.rewritten(part, slots);
                }
                in_words_of_cel(call);
            }
            Expr::List(list) => {
                for part in &mut list.elements {
                    *part = self.rewritten(part, slots);
                }
            }
            Expr::Map(map) => lists::for_each_value(map, |part| *part = self.rewritten(part, slots)),
            Expr::Comprehension(walk) => {
                let walk = &mut **walk;
                for part in [
                    &mut walk.iter_range,
                    &mut walk.accu_init,
                    &mut walk.loop_cond,
                    &mut walk.loop_step,
                    &mut walk.result,
                ] {
                    *part = self.rewritten(part, slots);
                }
            }
            _ => {}
        }
        expr
    }
}

/// Writes what only we know in words that the interpreter knows.
fn in_words_of_cel(call: &mut CallExpr) {
    let least = match (call.func_name.as_str(), call.args.as_slice()) {
        ("lower", [_]) => {
            "lowerAscii".clone_into(&mut call.func_name);
            call.target = call.args.pop().map(Box::new);
            return;
        }
        ("min", [_, _]) => true,
        ("max", [_, _]) => false,
        _ => return,
    };
    let (one, two) = (call.args[0].clone(), call.args[1].clone());
    let less = CallExpr {
        func_name: operators::LESS.to_owned(),
        target: None,
        args: vec![one.clone(), two.clone()],
    };
    let question = IdedExpr {
        id: one.id,
        expr: Expr::Call(less),
    };
    operators::CONDITIONAL.clone_into(&mut call.func_name);
    call.args = if least {
        vec![question, one, two]
    } else {
        vec![question, two, one]
    };
}

fn literal_of(literal: &LiteralValue) -> Result<Read, Fault> {
    let weight = Weight::ONE;
    Ok(match literal {
        LiteralValue::Boolean(value) => Read::bool(Bool::Literal(*value.inner()), weight),
        LiteralValue::Int(value) => Read::int(Int::Literal(*value.inner()), weight),
        LiteralValue::String(text) => Read::text(Text::Literal(text.inner().into()), weight),
        LiteralValue::Bytes(_) => return Err(unknown_literal("bytes", "write a text in quotes, without b before it")),
        LiteralValue::Double(_) => return Err(unknown_literal("fractions", "write a whole number")),
        LiteralValue::UInt(_) => return Err(unknown_literal("numbers ending in u", "write it without the u")),
        LiteralValue::Null => {
            return Err(unknown_literal(
                "null",
                "what is absent is an empty text here: compare with \"\", or use has()",
            ));
        }
    })
}

fn unknown_literal(what: &str, remedy: &str) -> Fault {
    Fault::new(format!("{what} are no part of conditions here"), remedy)
}

/// The text that stands there as such; `None` where it has to be reckoned first.
fn literal_text(part: &IdedExpr) -> Option<&str> {
    match &part.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// The texts of a list that stand there as such.
fn literal_texts(part: &IdedExpr) -> Option<Vec<&str>> {
    match &part.expr {
        Expr::List(list) => list.elements.iter().map(literal_text).collect(),
        _ => None,
    }
}
