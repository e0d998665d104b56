//! The files under `sds/`: where Envoy finds certificates and keys, so that it reads them again when they change.
//!
//! They hold paths and no secret. They are made from those in `envoy/sds`, which the project ships.

use super::plan::{Callers, Pair, Plan, directory};
use super::quote::yaml;
use super::template::{Template, TemplateError};

const FILTER: &str = include_str!("../../../../envoy/sds/filter.yaml");
const AUTHORITY: &str = include_str!("../../../../envoy/sds/authority.yaml");

/// One file beside the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secret {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// # Errors
/// The shipped files and this program have grown apart.
pub(crate) fn all(plan: &Plan) -> Result<Vec<Secret>, TemplateError> {
    let mut all = vec![certificate("filter", &plan.filter, None)?, authority("authority", &plan.authority, None)?];
    if let Some(Callers { listener, authority: callers }) = &plan.callers {
        let why = "# The listener's certificate, which callers check. Envoy reads the files again when something is moved into their directory:";
        all.push(certificate("listener", listener, Some(why))?);
        all.push(authority("callers", callers, Some("# Who may have signed a caller's certificate."))?);
    }
    Ok(all)
}

/// Their names, for what points to them.
#[must_use]
pub(crate) fn names(plan: &Plan) -> Vec<String> {
    let own = ["filter", "authority"].into_iter();
    let listener = ["listener", "callers"].into_iter().filter(|_| plan.callers.is_some());
    own.chain(listener).map(|name| format!("sds/{name}.yaml")).collect()
}

fn certificate(name: &str, pair: &Pair, why: Option<&str>) -> Result<Secret, TemplateError> {
    let first = "# The filter's own certificate. Envoy reads the files again when something is moved into `certs/`:";
    let template = watched(FILTER, &pair.certificate)
        .put(first, why.unwrap_or(first))
        .put("    name: filter\n", &format!("    name: {name}\n"))
        .put("{filename: certs/filter-laptop.pem}", &format!("{{filename: {}}}", yaml(&pair.certificate)))
        .put("{filename: certs/filter-laptop.key}", &format!("{{filename: {}}}", yaml(&pair.key)));
    finish(name, template)
}

fn authority(name: &str, file: &str, why: Option<&str>) -> Result<Secret, TemplateError> {
    let first = "# Who may have signed the control plane's certificate.";
    let template = watched(AUTHORITY, file)
        .put(first, why.unwrap_or(first))
        .put("    name: authority\n", &format!("    name: {name}\n"))
        .put("{filename: certs/authority.pem}", &format!("{{filename: {}}}", yaml(file)));
    finish(name, template)
}

fn watched(text: &str, file: &str) -> Template {
    Template::of(text).put("{path: certs}", &format!("{{path: {}}}", yaml(&directory(file))))
}

fn finish(name: &str, template: Template) -> Result<Secret, TemplateError> {
    Ok(Secret { name: format!("sds/{name}.yaml"), text: template.finish()? })
}
