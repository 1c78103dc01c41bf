//! Account and region names, and the source of random ids.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// A twelve-digit account number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Accepts exactly twelve digits.
    #[must_use]
    pub fn parse(s: &str) -> Option<Self> {
        (s.len() == 12 && s.bytes().all(|b| b.is_ascii_digit())).then(|| Self(s.into()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A region by name, such as `us-east-1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Region(Arc<str>);

impl Region {
    /// Accepts names of lower-case letters, digits and hyphens, 1 to 32 bytes.
    #[must_use]
    pub fn parse(s: &str) -> Option<Self> {
        let fits = (1..=32).contains(&s.len());
        let clean = s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (fits && clean).then(|| Self(s.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The source of random bytes; rooms get one and never ask the system themselves.
pub trait Random: Send + Sync {
    /// Fills `buf` with unpredictable bytes.
    fn fill(&self, buf: &mut [u8]);
}

impl dyn Random + '_ {
    /// `len` characters of `alphabet`, each equally likely.
    ///
    /// Limits: the alphabet has 1 to 256 bytes of ASCII.
    #[must_use]
    pub fn text(&self, alphabet: &[u8], len: usize) -> String {
        assert!((1..=256).contains(&alphabet.len()), "an alphabet has 1 to 256 bytes");
        // Bytes past the last whole multiple are thrown away, otherwise the first letters come more often.
        let fair = 256 - 256 % alphabet.len();
        let mut out = String::with_capacity(len);
        let mut buf = [0u8; 64];
        while out.len() < len {
            self.fill(&mut buf);
            let letters = buf.iter().map(|b| usize::from(*b)).filter(|b| *b < fair);
            out.extend(letters.take(len - out.len()).map(|b| char::from(alphabet[b % alphabet.len()])));
        }
        out
    }

    /// A version 4 UUID in its usual text form.
    #[must_use]
    pub fn uuid(&self) -> String {
        let mut b = [0u8; 16];
        self.fill(&mut b);
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        let mut s = String::with_capacity(36);
        for (i, x) in b.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                s.push('-');
            }
            s.push(char::from(b"0123456789abcdef"[usize::from(x >> 4)]));
            s.push(char::from(b"0123456789abcdef"[usize::from(x & 15)]));
        }
        s
    }
}

/// The operating system's random source, asked for many bytes at a time: every request needs an id, and a system call for each
/// would cost more than all else about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

/// Random bytes that a thread holds ready.
struct Ready {
    bytes: [u8; 1024],
    /// Bytes from here on were not handed out yet.
    at: usize,
}

thread_local! {
    static READY: RefCell<Ready> = const { RefCell::new(Ready { bytes: [0; 1024], at: 1024 }) };
}

fn ask_system(buf: &mut [u8]) {
    getrandom::fill(buf).expect("the kernel's random source answers once the system has booted");
}

impl Random for SystemRandom {
    fn fill(&self, buf: &mut [u8]) {
        // Long requests are worth a call, and a thread that is ending has no place of its own any more.
        let small = buf.len() <= 64 && READY.try_with(|ready| ready.borrow_mut().hand_out(buf)).is_ok();
        if !small {
            ask_system(buf);
        }
    }
}

impl Ready {
    fn hand_out(&mut self, buf: &mut [u8]) {
        if self.at + buf.len() > self.bytes.len() {
            ask_system(&mut self.bytes);
            self.at = 0;
        }
        let held = &mut self.bytes[self.at..self.at + buf.len()];
        buf.copy_from_slice(held);
        // What was handed out may be a secret: it stays nowhere else.
        held.fill(0);
        self.at += buf.len();
    }
}
