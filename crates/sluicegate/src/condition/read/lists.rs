//! Lists, maps, and the macros that walk them.

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, EntryExpr, ListExpr, MapExpr};

use super::super::fault::Fault;
use super::super::kind::Kind;
use super::names;
use super::weight::Weight;
use super::{Local, Read, Reader};

impl Reader<'_> {
    pub(super) fn list(&mut self, list: &ListExpr) -> Result<Read, Fault> {
        check_items(list.elements.len())?;
        if !list.optional_indices.is_empty() {
            return Err(Fault::new(
                "optional items are no part of conditions here",
                "write the item without ?",
            ));
        }
        let items: Vec<Read> = list
            .elements
            .iter()
            .map(|item| self.read(item))
            .collect::<Result<_, _>>()?;
        let kind = one_kind(&items, "the items of a list")?;
        let weights: Vec<Weight> = items.iter().map(|item| item.weight).collect();
        let weight = Weight {
            items: items.len() as u64,
            ..Weight::of(&weights)
        };
        let parts: Vec<&Read> = items.iter().collect();
        Ok(Read::residual(Kind::List(Box::new(kind)), weight, &parts))
    }

    pub(super) fn map(&mut self, map: &MapExpr) -> Result<Read, Fault> {
        check_items(map.entries.len())?;
        let mut values = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(Fault::new(
                    "messages are no part of conditions here",
                    "write a map, as in {\"free\": 10}",
                ));
            };
            let name = super::literal_text(&entry.key)
                .filter(|_| !entry.optional)
                .ok_or_else(|| {
                    Fault::new(
                        "a map's names have to be texts",
                        "write them in quotes, as in {\"free\": 10, \"paid\": 1}",
                    )
                })?;
            if names.contains(&name) {
                return Err(Fault::new(
                    format!("{name:?} stands twice in a map"),
                    "remove one of the two",
                ));
            }
            names.push(name);
            values.push(self.read(&entry.value)?);
        }
        let kind = one_kind(&values, "the values of a map")?;
        let weights: Vec<Weight> = values.iter().map(|value| value.weight).collect();
        let weight = Weight {
            items: values.len() as u64,
            ..Weight::of(&weights)
        };
        let parts: Vec<&Read> = values.iter().collect();
        Ok(Read::residual(Kind::Map(Box::new(kind)), weight, &parts))
    }

    /// What `exists`, `all`, `exists_one`, `map` and `filter` come to: a walk over a list with a value that grows.
    pub(super) fn walk(&mut self, walk: &ComprehensionExpr) -> Result<Read, Fault> {
        let range = self.read(&walk.iter_range)?;
        let item = match &range.kind {
            Kind::List(item) => (**item).clone(),
            Kind::Map(_) => Kind::Text,
            other => {
                return Err(Fault::new(
                    format!("only lists can be walked, and this is {other}"),
                    "write a list, as in [\"/a\", \"/b\"].exists(p, path.startsWith(p))",
                ));
            }
        };
        if names::is_attribute(&walk.iter_var) || walk.iter_var2.is_some() {
            return Err(Fault::new(
                format!("`{}` is the name of an attribute", walk.iter_var),
                "choose another name for the items",
            ));
        }
        let start = self.read(&walk.accu_init)?;
        let base = self.locals.len();
        self.locals.push(Local {
            name: walk.iter_var.clone(),
            kind: item,
            weight: range.weight.item(),
        });
        self.locals.push(Local {
            name: walk.accu_var.clone(),
            kind: start.kind.clone(),
            weight: Weight {
                items: range.weight.items,
                ..Weight::ONE
            },
        });
        let read = self.walk_within(walk, &range, &start, base);
        self.locals.truncate(base);
        read
    }

    fn walk_within(
        &mut self,
        walk: &ComprehensionExpr,
        range: &Read,
        start: &Read,
        base: usize,
    ) -> Result<Read, Fault> {
        let goes_on = self.read(&walk.loop_cond)?;
        let step = self.read(&walk.loop_step)?;
        let kind = start.kind.with(&step.kind).ok_or_else(|| {
            Fault::new(
                "what is asked of each item has to be true or false",
                "compare it with something, as in [\"/a\", \"/b\"].exists(p, p == path)",
            )
        })?;
        if let Some(grown) = self.locals.last_mut() {
            grown.kind = kind;
        }
        let result = self.read(&walk.result)?;
        let each = Weight::of(&[goes_on.weight, step.weight]);
        let ends = Weight::of(&[start.weight, result.weight]);
        let parts = [range, start, &goes_on, &step, &result];
        let bound = parts
            .iter()
            .filter_map(|part| part.bound)
            .filter(|place| *place < base)
            .min();
        Ok(Read {
            bound,
            ..Read::residual(result.kind.clone(), Weight::walk(range.weight, each, ends), &[])
        })
    }
}

fn one_kind(items: &[Read], what: &str) -> Result<Kind, Fault> {
    items.iter().try_fold(Kind::Any, |kind, item| {
        if matches!(item.kind, Kind::Address | Kind::Family) {
            return Err(Fault::new(
                format!("{what} cannot be {}", item.kind),
                "write texts, numbers or attributes with a name",
            ));
        }
        kind.with(&item.kind).ok_or_else(|| {
            Fault::new(
                format!(
                    "{what} have to be of one kind, and there is {kind} beside {}",
                    item.kind
                ),
                "write all of them as texts, or all as numbers",
            )
        })
    })
}

fn check_items(count: usize) -> Result<(), Fault> {
    if count > ITEMS_MAX {
        return Err(Fault::new(
            format!("a list has {count} items"),
            format!("keep it to {ITEMS_MAX}; a route or a pattern for matches() says more in less"),
        ));
    }
    Ok(())
}

/// Most items of a list or a map that an expression writes out.
pub(super) const ITEMS_MAX: usize = 128;

/// Calls `change` with each value of a map.
pub(super) fn for_each_value(map: &mut MapExpr, mut change: impl FnMut(&mut IdedExpr)) {
    for entry in &mut map.entries {
        if let EntryExpr::MapEntry(entry) = &mut entry.expr {
            change(&mut entry.value);
        }
    }
}
