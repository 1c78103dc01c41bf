//! The state engine in memory: the oracle of the property tests.
