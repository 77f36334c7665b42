//! What is told of one policy's decisions, also when another has come in force meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::policy::Policy;
use crate::route::{PathConflict, Routes};
use crate::told::Announcer;

/// What it takes to tell clients of one policy's limits.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) generation: u32,
    pub(super) routes: Routes,
    pub(super) announcer: Announcer,
    pub(super) rule_names: Box<[Box<str>]>,
    pub(super) route_names: Box<[Box<str>]>,
    pub(super) allow_names: Box<[Box<str>]>,
}

impl Told {
    pub(super) fn new(policy: &Policy, rules_by_route: &[Box<[usize]>], generation: u32) -> Result<Self, PathConflict> {
        Ok(Self {
            generation,
            routes: Routes::new(&policy.routes)?,
            announcer: Announcer::new(policy, rules_by_route),
            rule_names: policy.rules.iter().map(|rule| rule.name.as_str().into()).collect(),
            route_names: policy.routes.iter().map(|route| route.name.as_str().into()).collect(),
            allow_names: policy.allow.iter().map(|entry| entry.name.as_str().into()).collect(),
        })
    }
}

/// The last policies, for responses to requests that were decided by one before the one in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    list: VecDeque<Arc<Told>>,
}

impl Recent {
    /// How many are kept: a door that tells only after seven reloads tells nothing.
    const MAX: usize = 8;

    pub(super) fn add(&mut self, told: Arc<Told>) {
        if self.list.len() == Self::MAX {
            self.list.pop_back();
        }
        self.list.push_front(told);
    }

    pub(super) fn get(&self, generation: u32) -> Option<&Arc<Told>> {
        self.list.iter().find(|told| told.generation == generation)
    }
}
