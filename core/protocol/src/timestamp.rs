//! Timestamps as AWS's protocols write them.
