//! IAM policy evaluation: a pure function.
