//! JSON bodies: of the JSON protocols whole, of REST the part that is no header, label or parameter.

mod read;
mod words;
mod write;

pub(crate) use read::{read_body, read_payload};
pub use write::string as write_text;
pub(crate) use write::{Object, write, write_body_members};
