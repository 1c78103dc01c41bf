//! Bodies in aws-chunked encoding: a decoder that checks signatures while the bytes flow, and the signer beside it.
//!
//! The format: `size[;chunk-signature=SIGNATURE]\r\n`, `size` bytes, `\r\n`, and so on until a chunk of size 0; then trailer
//! lines `name:value\r\n` and an empty line. Each signature covers the one before it, beginning with the request's own.
//!
//! Memory is bounded: one line and the trailer are kept, data passes through. Data is handed on *before* its chunk's
//! signature is checked; the receiver must drop everything when an error follows.

use sha2::{Digest, Sha256};

use super::canonical::{equal, hex, sha256_hex, unhex};
use super::error::Mismatch;
use super::key::SigningKey;
use super::{ALGORITHM, Chunked, Credentials, EMPTY_SHA256, Error, Parsed, Scope, TERMINATOR, date};

/// The longest chunk header or trailer line.
const LINE_BYTES_MAX: usize = 1024;
/// The most trailer lines.
const TRAILERS_MAX: usize = 16;
/// S3's least size of a signed chunk that is not the last.
const CHUNK_BYTES_MIN: u64 = 8192;

/// The running signature of a stream.
struct Chain {
    key: SigningKey,
    amz_date: String,
    scope: String,
    previous: String,
}

impl Chain {
    fn string_to_sign(&self, what: &str, hashes: &[&str]) -> String {
        let Self { amz_date, scope, previous, .. } = self;
        format!("{ALGORITHM}-{what}\n{amz_date}\n{scope}\n{previous}\n{}", hashes.join("\n"))
    }

    fn chunk(&self, data_hash: &str) -> String {
        self.string_to_sign("PAYLOAD", &[EMPTY_SHA256, data_hash])
    }

    fn trailer(&self, lines: &str) -> String {
        self.string_to_sign("TRAILER", &[&sha256_hex(lines.as_bytes())])
    }
}

/// Decodes one body and checks its signatures.
pub struct ChunkDecoder {
    kind: Chunked,
    chain: Chain,
    access_key: String,
    state: State,
    line: Vec<u8>,
    hash: Sha256,
    /// The signature of the chunk being read, as sent.
    provided: String,
    chunk: u64,
    chunk_bytes: u64,
    decoded_bytes: u64,
    decoded_bytes_wanted: u64,
    trailers: Vec<(String, String)>,
    trailer_signed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a chunk's first line.
    Header,
    /// In a chunk's data; bytes left.
    Data(u64),
    /// In the line end after data; bytes of it left.
    DataEnd(u8),
    /// In the lines after the last chunk.
    Trailer,
    /// After the empty line.
    Done,
}

impl std::fmt::Debug for ChunkDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkDecoder").field("kind", &self.kind).field("state", &self.state).finish_non_exhaustive()
    }
}

impl ChunkDecoder {
    pub(super) fn new(kind: Chunked, key: SigningKey, parsed: &Parsed<'_>, decoded_bytes: u64) -> Self {
        let scope = format!("{}/{}/{}/{TERMINATOR}", parsed.day, parsed.region, parsed.service);
        let previous = parsed.signature.to_ascii_lowercase();
        Self {
            kind,
            chain: Chain { key, amz_date: parsed.amz_date.to_string(), scope, previous },
            access_key: parsed.access_key.to_string(),
            state: State::Header,
            line: Vec::new(),
            hash: Sha256::new(),
            provided: String::new(),
            chunk: 0,
            chunk_bytes: 0,
            decoded_bytes: 0,
            decoded_bytes_wanted: decoded_bytes,
            trailers: Vec::new(),
            trailer_signed: false,
        }
    }

    /// Takes more of the body; decoded data goes to `data`, in pieces of the input.
    ///
    /// # Errors
    /// [`Error::Mismatch`], [`Error::MalformedChunk`], [`Error::MalformedTrailer`], [`Error::ChunkTooSmall`],
    /// [`Error::IncompleteBody`] for more data than declared. After an error the decoder is not to be fed again.
    pub fn feed(&mut self, mut input: &[u8], mut data: impl FnMut(&[u8])) -> Result<(), Error> {
        while let Some(&first) = input.first() {
            match self.state {
                State::Header | State::Trailer => {
                    input = input.get(1..).unwrap_or_default();
                    self.line.push(first);
                    if self.line.len() > LINE_BYTES_MAX {
                        return Err(self.malformed());
                    }
                    if first == b'\n' {
                        let line = std::mem::take(&mut self.line);
                        self.line(&line)?;
                    }
                }
                State::Data(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let (piece, rest) = input.split_at(take);
                    if self.is_signed() {
                        self.hash.update(piece);
                    }
                    data(piece);
                    input = rest;
                    let left = left - take as u64;
                    self.state = if left == 0 { State::DataEnd(2) } else { State::Data(left) };
                }
                State::DataEnd(left) => {
                    input = input.get(1..).unwrap_or_default();
                    if first != if left == 2 { b'\r' } else { b'\n' } {
                        return Err(Error::MalformedChunk);
                    }
                    if left == 2 {
                        self.state = State::DataEnd(1);
                    } else {
                        self.check_chunk()?;
                        self.state = State::Header;
                    }
                }
                State::Done => return Err(Error::MalformedChunk),
            }
        }
        Ok(())
    }

    /// Ends the body: its trailers, names in lower case. The empty line at the very end may be missing, as some clients do.
    ///
    /// # Errors
    /// [`Error::IncompleteBody`], [`Error::MalformedTrailer`] for a trailer that should be signed and is not.
    pub fn finish(self) -> Result<Vec<(String, String)>, Error> {
        let ended = self.state == State::Done || (self.state == State::Trailer && self.line.is_empty());
        if !ended || self.decoded_bytes != self.decoded_bytes_wanted {
            return Err(Error::IncompleteBody);
        }
        if self.kind == Chunked::SignedTrailer && !self.trailer_signed {
            return Err(Error::MalformedTrailer);
        }
        Ok(self.trailers)
    }

    fn is_signed(&self) -> bool {
        self.kind != Chunked::UnsignedTrailer
    }

    fn malformed(&self) -> Error {
        if self.state == State::Trailer { Error::MalformedTrailer } else { Error::MalformedChunk }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Error> {
        let text = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
        let text = text.ok_or_else(|| self.malformed())?;
        if self.state == State::Header { self.header(text) } else { self.trailer(text) }
    }

    fn header(&mut self, text: &str) -> Result<(), Error> {
        let (size, extension) = text.split_once(';').map_or((text, None), |(size, rest)| (size, Some(rest)));
        let is_hex = !size.is_empty() && size.len() <= 16 && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = is_hex.then(|| u64::from_str_radix(size, 16).ok()).flatten().ok_or(Error::MalformedChunk)?;
        if self.is_signed() {
            let signature = extension.and_then(|text| text.trim().strip_prefix("chunk-signature="));
            self.provided = signature.ok_or(Error::MalformedChunk)?.trim().to_owned();
        }
        if self.is_signed() && size > 0 && self.chunk > 0 && self.chunk_bytes < CHUNK_BYTES_MIN {
            return Err(Error::ChunkTooSmall { chunk: self.chunk, size: self.chunk_bytes });
        }
        self.decoded_bytes = self.decoded_bytes.checked_add(size).ok_or(Error::IncompleteBody)?;
        if self.decoded_bytes > self.decoded_bytes_wanted {
            return Err(Error::IncompleteBody);
        }
        self.chunk += 1;
        self.chunk_bytes = size;
        if size > 0 {
            self.state = State::Data(size);
            return Ok(());
        }
        self.check_chunk()?;
        self.state = State::Trailer;
        Ok(())
    }

    /// Compares the signature of the chunk that just ended.
    fn check_chunk(&mut self) -> Result<(), Error> {
        if !self.is_signed() {
            return Ok(());
        }
        let hash = hex(&std::mem::take(&mut self.hash).finalize().into());
        let provided = std::mem::take(&mut self.provided);
        self.check(self.chain.chunk(&hash), provided)
    }

    fn check(&mut self, string_to_sign: String, provided: String) -> Result<(), Error> {
        let calculated = self.chain.key.sign(string_to_sign.as_bytes());
        if unhex(&provided).is_some_and(|provided| equal(&provided, &calculated)) {
            self.chain.previous = hex(&calculated);
            return Ok(());
        }
        let access_key = self.access_key.clone();
        Err(Error::Mismatch(Box::new(Mismatch { access_key, provided, string_to_sign, canonical_request: None })))
    }

    fn trailer(&mut self, text: &str) -> Result<(), Error> {
        if text.is_empty() {
            self.state = State::Done;
            return Ok(());
        }
        let (name, value) = text.split_once(':').ok_or(Error::MalformedTrailer)?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let allowed = self.kind != Chunked::Signed && !self.trailer_signed && self.trailers.len() < TRAILERS_MAX;
        if !allowed || name.is_empty() {
            return Err(Error::MalformedTrailer);
        }
        if name == "x-amz-trailer-signature" && self.is_signed() {
            self.trailer_signed = true;
            return self.check(self.chain.trailer(&canonical(&self.trailers)), value.to_owned());
        }
        self.trailers.push((name, value.to_owned()));
        Ok(())
    }
}

fn canonical(trailers: &[(String, String)]) -> String {
    trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect()
}

/// Encodes a body as signed chunks, for clients and tests.
pub struct ChunkSigner {
    chain: Chain,
}

impl std::fmt::Debug for ChunkSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkSigner").finish_non_exhaustive()
    }
}

impl ChunkSigner {
    /// A signer that goes on from a request's `Authorization` header as [`sign`](super::sign) made it.
    #[must_use]
    pub fn new(credentials: &Credentials<'_>, scope: &Scope<'_>, authorization: &str) -> Self {
        let amz_date = date::basic(scope.now.secs());
        let day = amz_date.get(..8).unwrap_or_default();
        let key = SigningKey::derive(credentials.secret, day, scope.region, scope.service);
        let previous = authorization.rsplit("Signature=").next().unwrap_or_default().to_owned();
        let scope = format!("{day}/{}/{}/{TERMINATOR}", scope.region, scope.service);
        Self { chain: Chain { key, scope, previous, amz_date } }
    }

    /// One chunk, with its header; an empty one ends the data.
    #[must_use]
    pub fn chunk(&mut self, data: &[u8]) -> Vec<u8> {
        let signature = hex(&self.chain.key.sign(self.chain.chunk(&sha256_hex(data)).as_bytes()));
        let mut out = format!("{:x};chunk-signature={signature}\r\n", data.len()).into_bytes();
        if !data.is_empty() {
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
        self.chain.previous = signature;
        out
    }

    /// The trailer after the empty chunk; without trailers only the empty line.
    #[must_use]
    pub fn trailer(&self, trailers: &[(String, String)]) -> Vec<u8> {
        if trailers.is_empty() {
            return b"\r\n".to_vec();
        }
        let lines: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
        let signature = hex(&self.chain.key.sign(self.chain.trailer(&canonical(trailers)).as_bytes()));
        format!("{lines}x-amz-trailer-signature:{signature}\r\n\r\n").into_bytes()
    }
}
