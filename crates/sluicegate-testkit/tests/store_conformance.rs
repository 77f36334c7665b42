//! The model in memory is a store like any other.

use std::error::Error;

use sluicegate_state::store::MemoryStore;
use sluicegate_testkit::store_conformance;

#[test]
fn the_store_in_memory_keeps_to_what_every_store_keeps_to() -> Result<(), Box<dyn Error>> {
    // Some day of 2026.
    let store = MemoryStore::at(9e13);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(store_conformance::check(&store, || store.wipe()))?;
    Ok(())
}
