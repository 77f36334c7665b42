//! What a node remembers: the fixed-memory table of cells, its overflow, and the clock.
