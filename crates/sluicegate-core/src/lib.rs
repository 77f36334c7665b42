//! Limits, costs, keys, algorithms and decisions: pure, no_std, without clock, chance or I/O.
