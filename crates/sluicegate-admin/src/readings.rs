//! What one scrape collects, under a bound.

use std::fmt::Debug;

use crate::catalogue::{FAMILIES, Family};

/// Something that can be asked for its numbers.
///
/// Asked once per scrape, on the admin listener's thread; it should read counters and not wait for anything.
pub trait Source: Debug + Send + Sync + 'static {
    /// Adds every number this source has.
    fn read(&self, readings: &mut Readings);
}

/// The numbers of one scrape, by family.
///
/// Holds at most [`SERIES_MAX`] series, whatever its sources offer; the rest is dropped and counted.
#[derive(Debug)]
pub struct Readings {
    /// One list per entry of [`FAMILIES`], in its order.
    families: Vec<Vec<Series>>,
    series_now: usize,
    omitted: u64,
}

/// One labelled number, or one histogram.
#[derive(Debug)]
pub(crate) struct Series {
    /// Values for the family's labels, in the family's order.
    pub(crate) labels: Vec<String>,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    Whole(u64),
    Fraction(f64),
    Histogram { sum: f64, buckets: Vec<(f64, u64)> },
}

impl Readings {
    pub(crate) fn new() -> Self {
        Self {
            families: FAMILIES.iter().map(|_| Vec::new()).collect(),
            series_now: 0,
            omitted: 0,
        }
    }

    /// Adds a whole number: a counter's total or a gauge's level. `labels` are the values for the family's labels, in
    /// the family's order, and come from the configuration, never from traffic.
    pub fn whole(&mut self, family: &'static Family, labels: &[&str], value: u64) {
        self.add(family, labels, Value::Whole(value));
    }

    /// Adds a fraction: a ratio, or seconds.
    pub fn fraction(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        self.add(family, labels, Value::Fraction(value));
    }

    /// Adds a histogram: the sum of everything seen, and per bucket its upper bound and how many fell into it alone (not
    /// cumulated). The last bound is infinite.
    pub fn histogram(&mut self, family: &'static Family, labels: &[&str], sum: f64, buckets: Vec<(f64, u64)>) {
        self.add(family, labels, Value::Histogram { sum, buckets });
    }

    /// How many series found no room.
    pub(crate) fn omitted(&self) -> u64 {
        self.omitted
    }

    pub(crate) fn of(&self, family: &'static Family) -> &[Series] {
        position(family).map_or(&[], |at| &self.families[at])
    }

    fn add(&mut self, family: &'static Family, labels: &[&str], value: Value) {
        debug_assert_eq!(family.labels.len(), labels.len(), "labels of {}", family.name);
        let lines = match &value {
            Value::Whole(_) | Value::Fraction(_) => 1,
            Value::Histogram { buckets, .. } => buckets.len() + 2,
        };
        let Some(at) = position(family).filter(|_| self.series_now + lines <= SERIES_MAX) else {
            self.omitted += 1;
            return;
        };
        self.series_now += lines;
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.families[at].push(Series { labels, value });
    }
}

fn position(family: &'static Family) -> Option<usize> {
    FAMILIES.iter().position(|known| known.name == family.name)
}

/// Most lines of numbers in one scrape. A line is at most about 250 bytes long with the longest rule and route names (64
/// bytes each), so that a scrape stays below 2 MiB, and below 1 MiB with names of ordinary length.
pub const SERIES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    #[test]
    fn series_beyond_the_bound_are_dropped_and_counted() {
        let mut readings = Readings::new();
        for n in 0..SERIES_MAX + 3 {
            let rule = format!("rule-{n}");
            readings.whole(&catalogue::DECISIONS, &[&rule, "", "allow"], 1);
        }
        assert_eq!(readings.of(&catalogue::DECISIONS).len(), SERIES_MAX);
        assert_eq!(readings.omitted(), 3);
    }
}
