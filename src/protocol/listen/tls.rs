//! TLS: the server's certificate, whether clients show theirs, and reading both again.
//!
//! The whole configuration is swapped at once, sessions to resume with it: a client that was let in
//! under an authority that has gone must show a certificate anew. Connections keep what they began
//! with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::stream::Stream;
use super::subject::subject;
use crate::config::ClientAuth;
use crate::protocol::files::Files;

/// Where certificates are.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The server's certificate and its chain.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Who signs clients, and whether clients must show so.
    pub clients: Option<(PathBuf, ClientAuth)>,
}

/// What makes TLS of a connection.
pub struct Tls {
    settings: TlsSettings,
    config: ArcSwap<ServerConfig>,
}

/// The subject of the client's certificate, which was verified: an extension of every request of a
/// connection that showed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert(pub Arc<str>);

impl Tls {
    /// Reads the files, and reads them again whenever they change. What is broken then is told,
    /// and what was there before stays.
    pub fn start(settings: TlsSettings) -> Result<Arc<Tls>, String> {
        let mut paths = vec![settings.cert.clone(), settings.key.clone()];
        paths.extend(settings.clients.iter().map(|(ca, _)| ca.clone()));
        let files = Files::look(paths);
        let config = ArcSwap::from_pointee(load(&settings)?);
        let tls = Arc::new(Tls { settings, config });
        files.follow("TLS certificates", &tls, |tls| {
            tls.config.store(Arc::new(load(&tls.settings)?));
            Ok(())
        });
        Ok(tls)
    }

    /// Shakes hands.
    pub(super) async fn accept(
        &self,
        stream: Stream,
    ) -> std::io::Result<(Stream, Option<ClientCert>)> {
        let acceptor = TlsAcceptor::from(self.config.load_full());
        let stream = acceptor.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let cert = shown.map(|der| ClientCert(subject(der).unwrap_or_default().into()));
        Ok((stream.into(), cert))
    }
}

fn load(settings: &TlsSettings) -> Result<ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = match &settings.clients {
        None | Some((_, ClientAuth::Off)) => builder.with_no_client_auth(),
        Some((ca, auth)) => {
            let mut roots = RootCertStore::empty();
            for cert in certificates(ca)? {
                roots.add(cert).map_err(|e| format!("{}: {e}", ca.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match auth {
                ClientAuth::Required => verifier,
                ClientAuth::Off | ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|e| format!("{}: {e}", ca.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(&settings.cert)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|e| format!("{}: no private key in PEM: {e}", settings.key.display()))?;
    let mut config = builder.with_single_cert(chain, key).map_err(|e| {
        let (cert, key) = (settings.cert.display(), settings.key.display());
        format!("{cert} and {key} can't be used together: {e}")
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let told =
        |e: &dyn std::fmt::Display| format!("{}: no certificate in PEM: {e}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(|e| told(&e))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|e| told(&e))?;
    if found.is_empty() { Err(told(&"the file has none")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_certificate_and_files_without_pem_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let make = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, two) = (make(), make());
        let cert = write("cert", one.cert.pem());
        let key = write("key", one.signing_key.serialize_pem());
        let other = write("other", two.signing_key.serialize_pem());
        let none = write("none", "nothing".to_owned());
        let settings = |cert: &PathBuf, key: &PathBuf, ca: Option<&PathBuf>| TlsSettings {
            cert: cert.clone(),
            key: key.clone(),
            clients: ca.map(|ca| (ca.clone(), ClientAuth::Required)),
        };
        load(&settings(&cert, &key, Some(&cert))).unwrap();
        for (wrong, says) in [
            (settings(&cert, &other, None), "together"),
            (settings(&none, &key, None), "none: no certificate"),
            (settings(&cert, &none, None), "none: no private key"),
            (settings(&cert, &key, Some(&none)), "none: no certificate"),
            (settings(&dir.path().join("gone"), &key, None), "gone"),
        ] {
            let error = load(&wrong).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
