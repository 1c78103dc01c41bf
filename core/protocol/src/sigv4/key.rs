//! Signing keys: derived by four HMACs from secret, day, region and service, and kept for the next request.

use std::hash::{BuildHasher, RandomState};
use std::sync::{PoisonError, RwLock};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::TERMINATOR;

type HmacSha256 = Hmac<Sha256>;

/// A derived key, ready to sign.
#[derive(Clone, Debug)]
pub(super) struct SigningKey(HmacSha256);

impl SigningKey {
    /// Derives the key of one day, region and service.
    pub(super) fn derive(secret: &str, day: &str, region: &str, service: &str) -> Self {
        let mut first = Vec::with_capacity(4 + secret.len());
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret.as_bytes());
        let day = mac(&first, day.as_bytes());
        let region = mac(&day, region.as_bytes());
        let service = mac(&region, service.as_bytes());
        Self(keyed(&mac(&service, TERMINATOR.as_bytes())))
    }

    /// The signature of a text.
    pub(super) fn sign(&self, text: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Keys by (access key, day, region, service), so that the hot path derives none.
///
/// Bounded: a fixed number of places, chosen by a seeded hash; a newcomer takes the place of whoever is there. An entry holds
/// the secret that it was derived from, so that a key with a new secret is derived anew.
#[derive(Debug)]
pub struct SigningKeys {
    places: Vec<RwLock<Option<Entry>>>,
    hasher: RandomState,
}

struct Entry {
    access_key: String,
    day: String,
    region: String,
    service: String,
    secret: String,
    key: SigningKey,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// A cache with room for `places` keys, at least one.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let places = std::iter::repeat_with(|| RwLock::new(None)).take(places.max(1)).collect();
        Self { places, hasher: RandomState::new() }
    }

    pub(super) fn key(&self, access_key: &str, secret: &str, scope: (&str, &str, &str)) -> SigningKey {
        let (day, region, service) = scope;
        let hash = self.hasher.hash_one((access_key, day, region, service));
        let place = usize::try_from(hash % self.places.len() as u64).unwrap_or(0);
        let Some(place) = self.places.get(place) else {
            return SigningKey::derive(secret, day, region, service);
        };
        if let Some(entry) = place.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let same_scope = entry.day == day && entry.region == region && entry.service == service;
            if same_scope && entry.access_key == access_key && entry.secret == secret {
                return entry.key.clone();
            }
        }
        let key = SigningKey::derive(secret, day, region, service);
        let entry = Entry {
            access_key: access_key.into(),
            day: day.into(),
            region: region.into(),
            service: service.into(),
            secret: secret.into(),
            key: key.clone(),
        };
        *place.write().unwrap_or_else(PoisonError::into_inner) = Some(entry);
        key
    }
}
