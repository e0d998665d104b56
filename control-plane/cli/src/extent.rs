//! What a hold keeps and a purge erases, as it is typed: everything that is named, together.

use crate::client::Client;
use crate::failure::Failure;
use crate::known;
use agentgate_core::id::Principal;
use agentgate_core::kill::KillTarget;
use agentgate_proto::retention::extent_from_wire;
use agentgate_proto::v1;
use clap::Args;
use serde_json::{Value, json};

#[derive(Clone, Debug, Args)]
pub struct Named {
    /// Of this session: its handle, or the 32 digits that `trace show` gives
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// Of an agent for whomever (`spiffe://…`), or of a user through whatever agent (`user:…@…`)
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// Of this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
}

// === impl Named ===

impl Named {
    /// # Errors
    /// Where the principal is none; `command` is what was typed before its name.
    pub async fn check(&self, command: &str, client: &Client) -> Result<(), Failure> {
        match &self.principal {
            Some(principal) => known::check_principal(principal, command, client).await,
            None => Ok(()),
        }
    }

    /// What makes the principal doubtful: it may be held before it appears, and a misspelt one is held for ever and is nobody. The
    /// control plane refuses other names that it does not know.
    pub async fn doubts(&self, client: &Client) -> Vec<String> {
        match self.principal.as_deref().map(Principal::try_from) {
            Some(Ok(principal)) => known::doubts_of_callers(&KillTarget::Agent(principal), client).await,
            Some(Err(_)) | None => Vec::new(),
        }
    }

    /// None: nothing is named.
    #[must_use]
    pub fn to_wire(&self) -> Option<v1::Extent> {
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        let extent = v1::Extent { tenant: word(&self.tenant), principal: word(&self.principal), session: word(&self.session) };
        (extent != v1::Extent::default()).then_some(extent)
    }
}

/// In words. None stands for what no program can read any more.
#[must_use]
pub fn told(extent: Option<&v1::Extent>) -> String {
    match extent_from_wire(extent) {
        Ok(Some(extent)) => extent.to_string(),
        Ok(None) => "everything: what it meant cannot be read any more".to_owned(),
        Err(unnamed) => format!("something that this program does not know: {unnamed}"),
    }
}

#[must_use]
pub fn to_json(extent: Option<&v1::Extent>) -> Value {
    let word = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
    extent.map_or(Value::Null, |extent| {
        json!({ "tenant": word(&extent.tenant), "principal": word(&extent.principal), "session": word(&extent.session) })
    })
}
