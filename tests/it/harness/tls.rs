//! A certificate authority for one test run, and a server certificate that it signed.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// Writes `ca.crt`, `server.crt` and `server.key` for `localhost` and `127.0.0.1` into `folder`.
pub(crate) fn write_certificates(folder: &Path) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Two certificates of the same name would look like one that signed itself.
    authority.distinguished_name.push(DnType::CommonName, "the authority of a test");
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();

    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();

    fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    fs::write(folder.join("server.crt"), server.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}
