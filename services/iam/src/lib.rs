//! The iam and sts rooms.
