//! Fields of frames.

use bytes::{Buf as _, Bytes};

/// A frame that does not say what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Name and value of variables.
pub type Variables = Vec<(String, String)>;

/// Writes a frame behind what is there already.
pub fn frame(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    fields(out);
    // The limits of what is sent keep frames far below 4 GiB.
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(head) = out.get_mut(start..start + 4) {
        head.copy_from_slice(&length.to_le_bytes());
    }
}

pub fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(value);
}

pub fn variables(out: &mut Vec<u8>, list: &[(String, String)]) {
    number(out, list.len() as u64);
    for (name, value) in list {
        bytes(out, name.as_bytes());
        bytes(out, value.as_bytes());
    }
}

/// What is still to be read of a frame.
pub struct Fields(pub Bytes);

impl Fields {
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    pub fn number(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64_le().map_err(|_| Malformed)
    }

    pub fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = self.0.try_get_u32_le().map_err(|_| Malformed)? as usize;
        if length > self.0.len() {
            return Err(Malformed);
        }
        Ok(self.0.split_to(length))
    }

    pub fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| Malformed)
    }

    pub fn variables(&mut self) -> Result<Variables, Malformed> {
        let count = self.number()?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push((self.text()?, self.text()?));
        }
        Ok(list)
    }

    /// Nothing may be left.
    pub fn end<T>(self, value: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(value) } else { Err(Malformed) }
    }
}
