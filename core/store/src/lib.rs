//! The state trait, the key codec and the suite that every engine passes.
