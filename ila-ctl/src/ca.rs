//! `ila-ctl ca`: an authority that is made, asked and shown by hand.

mod error;

use std::path::Path;

use ila_authority::{
    CA_PEM, CaError, Folder, NODE_KEY, NODE_PEM, Summary, Wanted,
    files::{self, OPEN, SECRET},
    make_folder, random, read_key,
};
use ila_proto::identity::{self, KeyPair};

use crate::cli::IssueArgs;

pub use error::Failure;

/// Makes an authority in a folder that has none.
pub fn init(dir: &Path) -> Result<Summary, Failure> {
    Ok(ila_authority::init(dir)?)
}

/// Certifies a node. One whose key is in the folder already is certified anew,
/// and stays the home of what it was.
pub fn issue(arguments: &IssueArgs) -> Result<Summary, Failure> {
    certify(arguments).map_err(|error| Failure { error, out: arguments.out.clone() })
}

fn certify(arguments: &IssueArgs) -> Result<Summary, CaError> {
    let out = &arguments.out;
    let [node_key, node_pem] = [NODE_KEY, NODE_PEM].map(|file| out.join(file));
    let mut folder = Folder::open(&arguments.folder.dir)?;
    let exists = node_key.try_exists().map_err(|error| CaError::io("read", &node_key, error))?;
    let node = if exists { read_key(&node_key)? } else { KeyPair::from_seed(&random()?) };
    let wanted = Wanted {
        node: arguments.node.clone(),
        locators: arguments.locators.clone(),
        identifiers: arguments.identifiers.clone(),
        days: arguments.days,
    };
    let issue = folder.certify(node.public(), &wanted)?;

    make_folder(out)?;
    // The key comes first: if this ends here, the next attempt finds it, and in
    // it the node that the record speaks of.
    if !exists {
        files::write(&node_key, node.to_pem().as_bytes(), SECRET)?;
    }
    folder.record(&issue)?;
    files::write(&out.join(CA_PEM), folder.pem().as_bytes(), OPEN)?;
    files::write(&node_pem, identity::to_pem(&issue.der).as_bytes(), OPEN)?;
    Ok(issue.summary)
}

/// What a certificate says, whoever has issued it.
pub fn show(file: &Path) -> Result<Summary, Failure> {
    let der = identity::from_pem(&files::read(file)?);
    let summary = der.and_then(|der| Summary::of(&der));
    Ok(summary.map_err(|error| CaError::unusable(file, &error))?)
}
