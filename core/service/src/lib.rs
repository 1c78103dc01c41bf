//! What a room is: services, targets, identities and how they meet.
