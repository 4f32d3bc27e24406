//! The node's identity, as it lies in a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ila_proto::{
    api::Domain,
    gossip::Certified,
    identity::{self, Authority, CertificateError, KeyError, KeyPair},
};

use crate::transport::Identity;

/// The key of this node, PKCS#8 in PEM.
pub const NODE_KEY: &str = "node.key";
/// Its certificate, in PEM.
pub const NODE_PEM: &str = "node.pem";
/// The authority's, in PEM.
pub const CA_PEM: &str = "ca.pem";

/// Why a folder holds no identity for this node.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {path}; make it with: ila-ctl ca issue --out FOLDER")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The key is none.
    #[error("{0}")]
    Key(PathBuf, #[source] KeyError),
    /// A certificate is none, or not of that authority.
    #[error("{0}")]
    Certificate(PathBuf, #[source] CertificateError),
    /// The certificate is for another key.
    #[error("{0} is not the certificate of the key beside it")]
    OtherKey(PathBuf),
    /// The certificate is another node's.
    #[error("{path} is the certificate of node `{certified}`, and `node` is `{configured}`")]
    OtherNode {
        /// The certificate.
        path: PathBuf,
        /// Whose it is.
        certified: String,
        /// What the configuration says.
        configured: String,
    },
    /// The certificate has other locators than the configuration.
    #[error(
        "{path} certifies the locators {certified}, and the configuration has {configured}; \
         others would send packets for this node to where it is not"
    )]
    OtherLocators {
        /// The certificate.
        path: PathBuf,
        /// What it certifies.
        certified: String,
        /// What the configuration says.
        configured: String,
    },
}

/// Reads the identity of a node, which has to be one of the name and with the
/// locators that the configuration gives it.
pub fn read(
    folder: &Path,
    node: &str,
    domains: &[Domain],
) -> Result<(KeyPair, Identity, Certified), IdentityError> {
    let (key, shown, certified) = identity(folder)?;
    let path = folder.join(NODE_PEM);
    if certified.name.as_str() != node {
        let (certified, configured) = (certified.name.to_string(), node.to_owned());
        return Err(IdentityError::OtherNode { path, certified, configured });
    }
    check_locators(&certified, domains, path)?;
    Ok((key, shown, certified))
}

/// Reads the identity of whichever node.
pub fn identity(folder: &Path) -> Result<(KeyPair, Identity, Certified), IdentityError> {
    let [key_path, node_path, ca_path] = [NODE_KEY, NODE_PEM, CA_PEM].map(|it| folder.join(it));
    let key = KeyPair::from_pem(&text(&key_path)?)
        .map_err(|error| IdentityError::Key(key_path, error))?;
    let bad = |path: &Path| {
        let path = path.to_owned();
        move |error| IdentityError::Certificate(path, error)
    };
    let certificate = identity::from_pem(&text(&node_path)?).map_err(bad(&node_path))?;
    let authority = identity::from_pem(&text(&ca_path)?).map_err(bad(&ca_path))?;
    let certified = Authority::read(&authority)
        .map_err(bad(&ca_path))?
        .certified(&certificate, None)
        .map_err(bad(&node_path))?;
    if certified.key != key.public() {
        return Err(IdentityError::OtherKey(node_path));
    }
    Ok((key.clone(), Identity { certificate, key: key.to_der(), authority }, certified))
}

fn check_locators(
    certified: &Certified,
    domains: &[Domain],
    path: PathBuf,
) -> Result<(), IdentityError> {
    let certified = certified.locators.iter();
    let mut certified: Vec<_> = certified
        .map(|&(sir_prefix, locator)| Domain { sir_prefix, locator }.to_string())
        .collect();
    let mut configured: Vec<_> = domains.iter().map(ToString::to_string).collect();
    certified.sort();
    configured.sort();
    if certified == configured {
        return Ok(());
    }
    let [certified, configured] = [certified, configured].map(|all| all.join(" and "));
    Err(IdentityError::OtherLocators { path, certified, configured })
}

fn text(path: &Path) -> Result<String, IdentityError> {
    fs::read_to_string(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })
}
