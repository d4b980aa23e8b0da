//! Certificates of a cluster's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::ClusterError;
use crate::error::io;
use crate::user::RunAs;

/// The files of a cluster that offers TLS.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl TlsFiles {
    /// Makes an authority, and a server certificate by it for `localhost` and 127.0.0.1. The
    /// authority's key is forgotten.
    pub(crate) fn make(folder: &Path, user: RunAs) -> Result<Self, ClusterError> {
        let authority = authority()?;
        let key = KeyPair::generate()?;
        let certificate = server_params()?.signed_by(&key, &authority.issuer)?;
        let files = Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
        };
        write(&files.ca, &authority.certificate, 0o644, user)?;
        write(&files.certificate, &certificate.pem(), 0o644, user)?;
        // PostgreSQL refuses a key that others can read.
        write(&files.key, &key.serialize_pem(), 0o600, user)?;
        Ok(files)
    }
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Result<Authority, ClusterError> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "a throw-away authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    Ok(Authority {
        certificate,
        issuer,
    })
}

fn server_params() -> Result<CertificateParams, ClusterError> {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let mut params = CertificateParams::new(names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn write(path: &Path, text: &str, mode: u32, user: RunAs) -> Result<(), ClusterError> {
    fs::write(path, text).map_err(io("write", path))?;
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).map_err(io("protect", path))?;
    user.own(path)
}
