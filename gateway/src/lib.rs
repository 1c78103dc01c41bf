//! The one listener: every request of the cloud comes in here.
//!
//! The way of a request: [`server`] accepts and reads the head → [`detect`] tells internal pages, deployed APIs and AWS calls
//! apart → for AWS calls [`aws`] finds the room by credential scope, reads the body within the room's limit, authenticates
//! ([`auth`]), decodes, checks constraints, authorises, calls the room and encodes its answer; for deployed APIs and function
//! URLs [`data`] hands the request to their front.
//!
//! The gateway knows no room by name and keeps no state besides connections.

mod auth;
mod aws;
mod data;
mod detect;
mod internal;
mod request;
mod server;
mod socket;
mod timer;

pub use internal::{Internal, InternalReply};
pub use server::{Gateway, Options, Parts};
