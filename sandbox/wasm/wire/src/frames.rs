//! The frames.

use crate::fields::{Fields, Malformed, Variables, bytes, frame, number, variables};
use bytes::Bytes;

/// What the server asks of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Make ready to call a function; answered by [`Tell::Opened`].
    Open {
        /// Names the environment from now on.
        environment: u64,
        /// File of the compiled module, without folder.
        file: String,
        /// Most bytes of its linear memories.
        memory_bytes: u64,
        /// Variables of every call.
        env: Variables,
    },
    /// Forget an environment.
    Close {
        /// Which.
        environment: u64,
    },
    /// Call a function; answered by [`Tell::Done`].
    Call {
        /// Names the call.
        call: u64,
        /// Of which environment.
        environment: u64,
        /// Time that is left for it.
        timeout_ms: u64,
        /// Variables of this call, after those of the environment.
        env: Variables,
        /// The event.
        event: Bytes,
    },
    /// End a call whose answer nobody wants any more.
    Cancel {
        /// Which.
        call: u64,
    },
    /// Compile a module or component; answered by [`Tell::Compiled`].
    Compile {
        /// It, as it was uploaded.
        module: Bytes,
    },
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function ended with status 0; what it wrote on stdout.
    Answer(Bytes),
    /// It ended with another status; what it wrote on stdout.
    Exit(i32, Bytes),
    /// It was ended by a trap: a line that says which, and the frames of its stack.
    Trap(String, String),
    /// It asked for more memory than it may have.
    OutOfMemory,
    /// Its time was over.
    TimedOut,
    /// Its answer is larger than AWS takes.
    TooLarge,
    /// The program's own fault.
    Failed(String),
}

/// What the program tells the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// It is there; the first frame of all.
    Hello {
        /// As it was given.
        token: String,
    },
    /// How an open ended.
    Opened {
        /// Of which environment.
        environment: u64,
        /// Why not.
        error: Option<String>,
    },
    /// What a call wrote on stderr.
    Log {
        /// Which call.
        call: u64,
        /// Part of it.
        bytes: Bytes,
    },
    /// A call's end.
    Done {
        /// Which.
        call: u64,
        /// Most bytes that its linear memories had.
        memory_peak_bytes: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// The compiled module, or why there is none.
    Compiled(Result<Bytes, String>),
}

impl Ask {
    /// Writes the frame behind what is there already.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open { environment, file, memory_bytes, env } => frame(out, 1, |out| {
                number(out, *environment);
                bytes(out, file.as_bytes());
                number(out, *memory_bytes);
                variables(out, env);
            }),
            Self::Close { environment } => frame(out, 2, |out| number(out, *environment)),
            Self::Call { call, environment, timeout_ms, env, event } => frame(out, 3, |out| {
                number(out, *call);
                number(out, *environment);
                number(out, *timeout_ms);
                variables(out, env);
                bytes(out, event);
            }),
            Self::Cancel { call } => frame(out, 4, |out| number(out, *call)),
            Self::Compile { module } => frame(out, 5, |out| bytes(out, module)),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// It is none of these.
    pub fn read(frame: Bytes) -> Result<Self, Malformed> {
        let mut f = Fields(frame);
        let ask = match f.byte()? {
            1 => {
                Self::Open { environment: f.number()?, file: f.text()?, memory_bytes: f.number()?, env: f.variables()? }
            }
            2 => Self::Close { environment: f.number()? },
            3 => Self::Call {
                call: f.number()?,
                environment: f.number()?,
                timeout_ms: f.number()?,
                env: f.variables()?,
                event: f.bytes()?,
            },
            4 => Self::Cancel { call: f.number()? },
            5 => Self::Compile { module: f.bytes()? },
            _ => return Err(Malformed),
        };
        f.end(ask)
    }
}

impl Tell {
    /// Writes the frame behind what is there already.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello { token } => frame(out, 1, |out| bytes(out, token.as_bytes())),
            Self::Opened { environment, error } => frame(out, 2, |out| {
                number(out, *environment);
                out.push(u8::from(error.is_some()));
                bytes(out, error.as_deref().unwrap_or_default().as_bytes());
            }),
            Self::Log { call, bytes: text } => frame(out, 3, |out| {
                number(out, *call);
                bytes(out, text);
            }),
            Self::Done { call, memory_peak_bytes, outcome } => frame(out, 4, |out| {
                number(out, *call);
                number(out, *memory_peak_bytes);
                outcome.write(out);
            }),
            Self::Compiled(result) => frame(out, 5, |out| {
                out.push(u8::from(result.is_err()));
                match result {
                    Ok(module) => bytes(out, module),
                    Err(text) => bytes(out, text.as_bytes()),
                }
            }),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// It is none of these.
    pub fn read(frame: Bytes) -> Result<Self, Malformed> {
        let mut f = Fields(frame);
        let tell = match f.byte()? {
            1 => Self::Hello { token: f.text()? },
            2 => {
                let environment = f.number()?;
                let is_error = f.byte()? == 1;
                let text = f.text()?;
                Self::Opened { environment, error: is_error.then_some(text) }
            }
            3 => Self::Log { call: f.number()?, bytes: f.bytes()? },
            4 => Self::Done { call: f.number()?, memory_peak_bytes: f.number()?, outcome: Outcome::read(&mut f)? },
            5 => Self::Compiled(match f.byte()? {
                0 => Ok(f.bytes()?),
                1 => Err(f.text()?),
                _ => return Err(Malformed),
            }),
            _ => return Err(Malformed),
        };
        f.end(tell)
    }
}

impl Outcome {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Answer(answer) => {
                out.push(1);
                bytes(out, answer);
            }
            Self::Exit(status, answer) => {
                out.push(2);
                out.extend_from_slice(&status.to_le_bytes());
                bytes(out, answer);
            }
            Self::Trap(line, stack) => {
                out.push(3);
                bytes(out, line.as_bytes());
                bytes(out, stack.as_bytes());
            }
            Self::OutOfMemory => out.push(4),
            Self::TimedOut => out.push(5),
            Self::TooLarge => out.push(6),
            Self::Failed(text) => {
                out.push(7);
                bytes(out, text.as_bytes());
            }
        }
    }

    fn read(f: &mut Fields) -> Result<Self, Malformed> {
        use bytes::Buf as _;
        Ok(match f.byte()? {
            1 => Self::Answer(f.bytes()?),
            2 => Self::Exit(f.0.try_get_i32_le().map_err(|_| Malformed)?, f.bytes()?),
            3 => Self::Trap(f.text()?, f.text()?),
            4 => Self::OutOfMemory,
            5 => Self::TimedOut,
            6 => Self::TooLarge,
            7 => Self::Failed(f.text()?),
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks() -> Vec<Ask> {
        let env = vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), String::new())];
        vec![
            Ask::Open { environment: 7, file: "x.cwasm".into(), memory_bytes: 1 << 27, env: env.clone() },
            Ask::Close { environment: 7 },
            Ask::Call { call: 1, environment: 7, timeout_ms: 3000, env, event: "{}".into() },
            Ask::Cancel { call: 1 },
            Ask::Compile { module: vec![0; 100].into() },
        ]
    }

    fn tells() -> Vec<Tell> {
        let done = |outcome| Tell::Done { call: 1, memory_peak_bytes: 65536, outcome };
        vec![
            Tell::Hello { token: "secret".into() },
            Tell::Opened { environment: 7, error: None },
            Tell::Opened { environment: 7, error: Some("why".into()) },
            Tell::Log { call: 1, bytes: "line\n".into() },
            done(Outcome::Answer("{}".into())),
            done(Outcome::Exit(-3, "{}".into())),
            done(Outcome::Trap("unreachable".into(), "0: f".into())),
            done(Outcome::OutOfMemory),
            done(Outcome::TimedOut),
            done(Outcome::TooLarge),
            done(Outcome::Failed("why".into())),
            Tell::Compiled(Ok(vec![1, 2, 3].into())),
            Tell::Compiled(Err("why".into())),
        ]
    }

    fn body(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(out.len(), 4 + u32::from_le_bytes(out[..4].try_into().expect("4 bytes")) as usize);
        Bytes::from(out).slice(4..)
    }

    #[test]
    fn frames_come_back() {
        for ask in asks() {
            assert_eq!(Ask::read(body(|out| ask.write(out))), Ok(ask));
        }
        for tell in tells() {
            assert_eq!(Tell::read(body(|out| tell.write(out))), Ok(tell));
        }
    }

    #[test]
    fn frames_that_are_cut_or_too_long_are_refused() {
        let bodies = asks().into_iter().map(|a| body(|out| a.write(out)));
        let bodies = bodies.chain(tells().into_iter().map(|t| body(|out| t.write(out))));
        for (at, frame) in bodies.enumerate() {
            for end in 0..frame.len() {
                let cut = frame.slice(..end);
                if at < asks().len() {
                    assert_eq!(Ask::read(cut), Err(Malformed), "ask {at} cut at {end}");
                } else {
                    assert_eq!(Tell::read(cut), Err(Malformed), "tell {at} cut at {end}");
                }
            }
            let longer: Bytes = frame.iter().copied().chain([0]).collect();
            assert!(Ask::read(longer.clone()).is_err() || Tell::read(longer).is_err(), "{at}");
        }
        assert_eq!(Tell::read(Bytes::from_static(&[9])), Err(Malformed));
    }
}
