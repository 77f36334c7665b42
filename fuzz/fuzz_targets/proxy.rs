//! `cargo +nightly fuzz run proxy`; built by other means it replays the files it is given.
#![forbid(unsafe_code)]
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_fuzz::proxy::target(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    sluicegate_fuzz::replay(sluicegate_fuzz::proxy::target)
}
