//! Readings put into the text that Prometheus reads.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::catalogue::{self, FAMILIES, Family, Kind, PREFIX};
use crate::readings::{Readings, Series, Source, Value};

/// The type of what [`Exposition::text`] gives back.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every source, ready to be asked.
#[derive(Debug)]
pub(crate) struct Exposition {
    registry: Registry,
}

impl Exposition {
    pub(crate) fn new(sources: Vec<Arc<dyn Source>>) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(Sources(sources)));
        Self { registry }
    }

    /// One scrape in the OpenMetrics text format, 1.0.
    ///
    /// # Errors
    ///
    /// When the encoder refuses a reading; nothing of it is served then.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[derive(Debug)]
struct Sources(Vec<Arc<dyn Source>>);

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut readings = Readings::new();
        for source in &self.0 {
            source.read(&mut readings);
        }
        for family in FAMILIES {
            let series = readings.of(family);
            if !series.is_empty() {
                encode_family(&mut encoder, family, series)?;
            }
        }
        let own = [Series {
            labels: Vec::new(),
            value: Value::Whole(readings.omitted()),
        }];
        encode_family(&mut encoder, &catalogue::SERIES_OMITTED, &own)
    }
}

fn encode_family(encoder: &mut DescriptorEncoder<'_>, family: &Family, series: &[Series]) -> fmt::Result {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    };
    let mut encoder = encoder.encode_descriptor(family.name, family.help, None, kind)?;
    for one in series {
        let labels: Vec<(&str, &str)> = family
            .labels
            .iter()
            .copied()
            .zip(one.labels.iter().map(String::as_str))
            .collect();
        if labels.is_empty() {
            encode_value(&mut encoder, family.kind, &[], &one.value)?;
        } else if family.kind == Kind::Info {
            // An info's labels are its value, so they are not those of a family.
            encode_value(&mut encoder, family.kind, &labels, &one.value)?;
        } else {
            encode_value(&mut encoder.encode_family(&labels)?, family.kind, &[], &one.value)?;
        }
    }
    Ok(())
}

fn encode_value(encoder: &mut MetricEncoder<'_>, kind: Kind, info: &[(&str, &str)], value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => encoder.encode_counter::<NoLabelSet, _, u64>(value, None),
        (Kind::Counter, Value::Fraction(value)) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None),
        (Kind::Gauge, Value::Whole(value)) => encoder.encode_gauge(value),
        (Kind::Gauge, Value::Fraction(value)) => encoder.encode_gauge(value),
        (Kind::Histogram, Value::Histogram { sum, buckets }) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
        (Kind::Info, _) => encoder.encode_info(&info),
        // A source mixed up its families: better no scrape than a wrong one.
        _ => Err(fmt::Error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed;

    impl Source for Fixed {
        fn read(&self, readings: &mut Readings) {
            readings.whole(&catalogue::DECISIONS, &["per \"client\"\n\\", "all", "allow"], 7);
            readings.histogram(
                &catalogue::DECISION_SECONDS,
                &[],
                0.5,
                vec![(0.25, 2), (f64::INFINITY, 1)],
            );
            readings.whole(&catalogue::BUILD, &["1.2.3"], 1);
        }
    }

    #[test]
    fn a_scrape_holds_every_reading_and_ends_with_its_mark() {
        let text = Exposition::new(vec![Arc::new(Fixed)])
            .text()
            .expect("every reading fits its family");
        for line in [
            "# TYPE sluicegate_decisions counter",
            r#"sluicegate_decisions_total{rule="per \"client\"\n\\",route="all",outcome="allow"} 7"#,
            r#"sluicegate_decision_seconds_bucket{le="0.25"} 2"#,
            r#"sluicegate_decision_seconds_bucket{le="+Inf"} 3"#,
            "sluicegate_decision_seconds_count 3",
            r#"sluicegate_build_info{version="1.2.3"} 1"#,
            "sluicegate_series_omitted 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_reading_of_the_wrong_kind_spoils_the_scrape_rather_than_being_misread() {
        #[derive(Debug)]
        struct Mixed;
        impl Source for Mixed {
            fn read(&self, readings: &mut Readings) {
                readings.whole(&catalogue::DECISION_SECONDS, &[], 3);
            }
        }
        assert!(Exposition::new(vec![Arc::new(Mixed)]).text().is_err());
    }
}
