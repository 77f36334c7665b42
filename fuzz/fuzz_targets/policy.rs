//! `cargo +nightly fuzz run policy`; built by other means it replays the files it is given.
#![forbid(unsafe_code)]
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_fuzz::policy::target(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    sluicegate_fuzz::replay(sluicegate_fuzz::policy::target)
}
