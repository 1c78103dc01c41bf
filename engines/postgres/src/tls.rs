//! Encrypted connections: rustls with ring, the server's name always verified.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::options::{OpenError, Tls};

/// Reads the certificates to trust and makes connections of them.
pub(crate) fn connector(tls: &Tls) -> Result<MakeRustlsConnect, OpenError> {
    let mut roots = RootCertStore::empty();
    match &tls.roots {
        Some(path) => {
            let failed = |error| OpenError::Tls(format!("sslrootcert={}: {error}", path.display()));
            for cert in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
                let cert = cert.map_err(|error| failed(error.to_string()))?;
                roots.add(cert).map_err(|error| failed(error.to_string()))?;
            }
        }
        None => {
            // Certificates that cannot be used are passed over, as everywhere; having none at all is an error.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(OpenError::Tls("no certificates to trust: name a file with sslrootcert=FILE".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
