//! How gates compare with each other: what one adds to Envoy alone, over what another adds. It divides and judges nothing.

use crate::gates::Kind;

/// Which is divided by which, wherever both were measured.
const COMPARED: &[(Kind, Kind)] = &[(Kind::Ours, Kind::Opa), (Kind::Observing, Kind::Native)];

/// What `of` adds at the median, over what `over` adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) of: Kind,
    pub(crate) over: Kind,
    /// None where the other one adds nothing that can be told from noise.
    pub(crate) value: Option<f64>,
}

/// The ratios of gates by what each adds, in microseconds.
pub(crate) fn ratios(added: &[(Kind, f64)]) -> Vec<Ratio> {
    COMPARED.iter().filter_map(|pair| Ratio::of(*pair, added)).collect()
}

// === impl Ratio ===

impl Ratio {
    fn of((of, over): (Kind, Kind), added: &[(Kind, f64)]) -> Option<Self> {
        let by = |kind: Kind| added.iter().find(|(one, _)| *one == kind).map(|(_, added)| *added);
        let (above, below) = (by(of)?, by(over)?);
        let value = (below > 0.0).then(|| above / below).filter(|value| value.is_finite());
        Some(Self { of, over, value })
    }

    pub(crate) fn line(&self) -> String {
        let (of, over) = (self.of.label(), self.over.label());
        match self.value {
            Some(value) => format!("Added p50, {of} over {over}: {value:.2}."),
            None => format!("Added p50, {of} over {over}: no ratio, the latter adds nothing."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_adds_is_divided_by_what_the_other_adds() {
        let check = |added: &[(Kind, f64)], wanted: &[&str]| {
            let lines: Vec<String> = ratios(added).iter().map(Ratio::line).collect();
            assert_eq!(lines, wanted, "{added:?}");
        };
        let (ours, opa, plain) = (Kind::Ours, Kind::Opa, (Kind::Plain, 0.0));
        let words = "Added p50, AgentGate over Envoy's ext_authz to OPA";
        check(&[plain, (opa, 800.0), (ours, 300.0)], &[&format!("{words}: 0.38.")]);
        check(&[(ours, -40.0), (opa, 800.0)], &[&format!("{words}: -0.05.")]);
        check(&[(ours, 300.0), (opa, 0.0)], &[&format!("{words}: no ratio, the latter adds nothing.")]);
        check(&[(ours, 300.0), (opa, -3.0)], &[&format!("{words}: no ratio, the latter adds nothing.")]);
        check(&[(ours, f64::NAN), (opa, 3.0)], &[&format!("{words}: no ratio, the latter adds nothing.")]);
        check(&[plain, (ours, 300.0)], &[]);
        check(&[plain, (opa, 300.0)], &[]);
        check(&[], &[]);
    }

    #[test]
    fn no_gate_is_compared_with_itself_or_with_envoy_alone() {
        for (of, over) in COMPARED {
            assert!(of != over && *of != Kind::Plain && *over != Kind::Plain, "{of:?} {over:?}");
        }
    }
}
