//! Keys of these rooms; nothing else builds them.

use squall_store::{Key, Kind};

const ROOT: Kind = Kind::kv(0x01, 1);
const ROLE: Kind = Kind::kv(0x01, 2);
const USER: Kind = Kind::kv(0x01, 3);
const POLICY: Kind = Kind::kv(0x01, 4);

/// The row of the root's credentials and the sealing key.
#[must_use]
pub fn root() -> Key {
    Key::new(ROOT, 0, 0)
}

/// The prefix of all roles; a role's key goes on with its name in lower case.
#[must_use]
pub fn roles() -> Key {
    Key::new(ROLE, 0, 0)
}

/// The prefix of all users; a user's key goes on with its name in lower case.
#[must_use]
pub fn users() -> Key {
    Key::new(USER, 0, 0)
}

/// The prefix of all customer managed policies; a policy's key goes on with its name in lower case.
#[must_use]
pub fn policies() -> Key {
    Key::new(POLICY, 0, 0)
}

/// The row of an entity under one of the prefixes above.
#[must_use]
pub fn entity(prefix: Key, lower_name: &str) -> Key {
    prefix.text(lower_name)
}
