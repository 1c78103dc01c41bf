//! Code packages by URL: `GetFunction` answers a link that is good for a while, as AWS's presigned links are.
//!
//! The link is served beside the function URLs, under an id that is none (those have 32 characters). It is signed with a
//! secret that lives as long as the process and tells nothing but the package and the end of its time.

use crate::room::Lambda;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use squall_protocol::Reply;
use squall_service::HttpRequest;
use squall_types::{Millis, Random};
use std::time::Duration;

/// The id under which packages are served.
pub const ID: &str = "code";
/// How long a link is good, as AWS's are.
const VALID: Duration = Duration::from_secs(600);

/// Makes and checks links.
pub struct Downloads {
    secret: [u8; 32],
}

impl Downloads {
    /// With a new secret.
    #[must_use]
    pub fn new(random: &dyn Random) -> Self {
        let mut secret = [0; 32];
        random.fill(&mut secret);
        Self { secret }
    }

    /// The link to a package on the host that the caller reached.
    #[must_use]
    pub fn location(&self, host: &str, object: &str, now: Millis) -> String {
        let name = object.trim_start_matches("lambda/").trim_end_matches(".zip");
        let expires = now.plus(VALID).secs();
        let signature: String =
            self.mac(name, expires).finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
        format!("http://{host}/_aws/lambda-url/{ID}/{name}?Expires={expires}&Signature={signature}")
    }

    fn mac(&self, name: &str, expires: i64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(format!("{name}\n{expires}").as_bytes());
        mac
    }

    /// The package that a request asks for, if its link is good.
    fn object(&self, path: &str, query: &str, now: Millis) -> Option<String> {
        let name = path.strip_prefix('/')?;
        let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let expires: i64 = value("Expires")?.parse().ok()?;
        let signature = bytes_of(value("Signature")?)?;
        self.mac(name, expires).verify_slice(&signature).ok()?;
        (now.secs() <= expires).then(|| format!("lambda/{name}.zip"))
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    let digits = digits.filter(|d| d.len() == 64)?;
    digits.chunks_exact(2).map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect()
}

impl Lambda {
    /// Answers a link.
    pub(crate) async fn download(&self, request: &HttpRequest) -> Reply {
        let plain = |status, text: &'static str| Reply {
            status,
            headers: vec![("content-type".into(), "text/plain".into())],
            body: text.into(),
        };
        let Some(object) = self.downloads.object(&request.path, &request.query, request.time) else {
            return plain(403, "Request has expired or its signature is wrong");
        };
        match self.deps.objects.get(&object).await {
            Ok(Some(body)) => {
                Reply { status: 200, headers: vec![("content-type".into(), "application/zip".into())], body }
            }
            Ok(None) => plain(404, "The package is gone"),
            Err(e) => {
                tracing::error!(object, error = %e, "read a package");
                plain(500, "Internal Server Error")
            }
        }
    }
}
