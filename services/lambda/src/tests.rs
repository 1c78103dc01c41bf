//! Tests of the room on the memory engine, with functions as plain processes.
