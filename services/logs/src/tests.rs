//! Tests of the room on the memory engine.
