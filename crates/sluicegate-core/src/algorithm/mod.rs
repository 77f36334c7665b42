//! How a limit is kept: pure functions of what is remembered, the time and the cost.
//!
//! Each algorithm stands in a file of its own. [`Meter`] is any of them, made ready to decide by, sorted by what it
//! remembers of a key: one word, three words, or a log. All answer alike, with an [`Answer`] beside the state to keep.

mod answer;
mod ticks;
mod token_bucket;

mod concurrency;
mod fixed_window;
mod leaky_bucket;
mod settling;
mod sliding_log;
mod sliding_window;
mod windows;

mod choice;
mod meter;

pub use answer::{Answer, Ruling, Wide};
pub use choice::{Algorithm, Align};
pub use concurrency::{Concurrency, Held};
pub use fixed_window::FixedWindow;
pub use leaky_bucket::LeakyBucket;
pub use meter::{Meter, MeterSpec, Settle, Storage, WideMeter, WordMeter};
pub use settling::Settling;
pub use sliding_log::{Entry, LOG_MAX, Log, LogFull, SlidingLog};
pub use sliding_window::SlidingWindow;
pub use ticks::{Tick, TickScale};
pub use token_bucket::{Ageing, Tat, TokenBucket, Verdict};
