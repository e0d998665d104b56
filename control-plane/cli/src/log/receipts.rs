//! `agentgate log receipts`: what a place outside answered to checkpoints, in files. What a receipt means, its giver knows.

use super::export::put;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::moment::counted;
use crate::output::Desk;
use crate::text::hex;
use clap::Args;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to; a receipt that is there is replaced
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let anchors = client.show_log().await?.anchors;
    let paths = anchors.iter().map(|anchor| format!("receipt/{}", hex(&anchor.receipt))).collect();
    let receipts = if anchors.is_empty() { Vec::new() } else { client.read_log_files(paths).await?.files };
    if receipts.len() != anchors.len() {
        return Err(Failure::new(Exit::Unreachable, "the control plane's answer holds another number of receipts"));
    }
    let mut files = Vec::new();
    for (anchor, receipt) in anchors.iter().zip(&receipts) {
        if Sha256::digest(receipt).as_slice() != anchor.receipt {
            let said = format!("the receipt of {} records is another than the one that was kept", anchor.size);
            return Err(Failure::new(Exit::Refused, said));
        }
        let path = arguments.directory.join(format!("{}.receipt", anchor.size));
        put(&path, receipt)?;
        files.push(json!({ "size": anchor.size, "file": path.display().to_string(), "bytes": receipt.len() }));
    }
    let said = match files.len() {
        0 => {
            "No receipt is kept: nothing was anchored yet (`[transparency.anchor]` of the control plane's configuration)\n".into()
        }
        count => format!("Wrote {} into {}\n", counted(count as u64, "receipt"), arguments.directory.display()),
    };
    desk.answer(|_| said, || json!({ "receipts": files }))
}
