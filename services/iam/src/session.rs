//! Temporary credentials without a row: the token carries what it stands for, sealed with a key of the cloud.
//!
//! Token: base64 of `HMAC-SHA256 (32 bytes) | claims as JSON`. It is authenticated, not secret: whoever holds it may read its
//! claims. The secret access key follows from the access key id and the sealing key, so that neither needs a disk.

use crate::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use squall_types::Millis;

/// Longest token that is read; one with the largest session policy has about half of it.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
const MAC_BYTES: usize = 32;

/// What a session stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The access key id that the token belongs to.
    pub key: String,
    /// Role's name.
    pub role: String,
    /// Role's unique id: a role made again under the same name is another one.
    pub role_id: String,
    /// Session name.
    pub session: String,
    /// End of validity.
    pub expires: Millis,
    /// Session policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// ARNs of managed session policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_arns: Vec<String>,
}

/// Seals and opens tokens.
pub struct Sealer(Hmac<Sha256>);

impl Sealer {
    /// A sealer with a key in base64.
    ///
    /// # Errors
    /// The stored key is damaged.
    pub fn new(key: &str) -> Result<Self, Error> {
        let bytes = STANDARD.decode(key).map_err(|e| Error::internal("read the sealing key", e))?;
        if bytes.len() != 32 {
            return Err(Error::internal("read the sealing key", "it has not 32 bytes"));
        }
        Hmac::new_from_slice(&bytes).map(Self).map_err(|e| Error::internal("use the sealing key", e))
    }

    /// The secret access key that belongs to an access key id: 40 characters.
    #[must_use]
    pub fn secret(&self, key_id: &str) -> String {
        let mac = self.mac(b"secret", key_id.as_bytes()).finalize().into_bytes();
        STANDARD.encode(mac.get(..30).unwrap_or_default())
    }

    /// The token of some claims.
    ///
    /// # Errors
    /// The claims cannot be written as JSON.
    pub fn seal(&self, claims: &Claims) -> Result<String, Error> {
        let json = serde_json::to_vec(claims).map_err(|e| Error::internal("write a session", e))?;
        let mut bytes = self.mac(b"token", &json).finalize().into_bytes().to_vec();
        bytes.extend_from_slice(&json);
        Ok(STANDARD.encode(bytes))
    }

    /// The claims of a token that this cloud sealed for that access key id.
    #[must_use]
    pub fn open(&self, token: &str, key_id: &str) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let bytes = STANDARD.decode(token).ok()?;
        let (mac, json) = bytes.split_at_checked(MAC_BYTES)?;
        // `verify_slice` compares in constant time.
        self.mac(b"token", json).verify_slice(mac).ok()?;
        let claims: Claims = serde_json::from_slice(json).ok()?;
        (claims.key == key_id).then_some(claims)
    }

    /// The two uses of the key are told apart by a word, so that no secret is ever the head of a token's seal.
    fn mac(&self, word: &[u8], message: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(word);
        mac.update(&[0]);
        mac.update(message);
        mac
    }
}

/// Compares without telling by its time how much agrees.
#[must_use]
pub fn is_same(a: &str, b: &str) -> bool {
    let differences = a.bytes().zip(b.bytes()).fold(0, |sum, (x, y)| sum | (x ^ y));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}
