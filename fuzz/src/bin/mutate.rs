//! `mutate TARGET SECONDS [SEED]`: runs a target over mutations of its corpus until the time is over.
//!
//! Prints its seed first. When the target fails, the input is in `fuzz/artifacts/TARGET/`, and the same seed finds it again.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "a tool of its own: it reads its arguments and stops by the clock"
)]

use std::error::Error;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs};

use sluicegate_fuzz::mutation::Mutator;
use sluicegate_fuzz::{TARGETS, corpus};

/// How many inputs pass between two looks at the clock.
const BATCH: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [name, seconds, seed @ ..] = arguments.as_slice() else {
        return Err("usage: mutate TARGET SECONDS [SEED]".into());
    };
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .ok_or_else(|| format!("there is no target {name}"))?;
    let until = Instant::now() + Duration::from_secs(seconds.parse()?);
    let seed = match seed {
        [seed, ..] => seed.parse()?,
        [] => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()),
    };
    println!("{name}: seed {seed}");

    let inputs: Vec<_> = corpus(target)?.into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutator = Mutator::new(seed, &inputs, target.dictionary);
    let mut count: u64 = 0;
    while Instant::now() < until {
        for _ in 0..BATCH {
            let input = mutator.input();
            if panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(name);
                fs::create_dir_all(&folder)?;
                let file = folder.join(format!("seed-{seed}-input-{count}"));
                fs::write(&file, &input)?;
                return Err(format!("{name}: failed for {}", file.display()).into());
            }
            count += 1;
        }
    }
    println!("{name}: {count} inputs, no failure");
    Ok(())
}
