//! The little arithmetic of a bench: quantiles, medians. It rounds nothing.

/// The value below which this share of sorted values lies; NaN of none.
pub(crate) fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index below the length"
    )]
    let at = (last as f64 * quantile).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// NaN of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half.wrapping_sub(1)), sorted.get(half)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => f64::midpoint(*below, *above),
        (_, Some(middle)) => *middle,
        (_, None) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        let check = |values: &[f64], wanted: f64| assert!((median(values.iter().copied()) - wanted).abs() < 1e-9, "{values:?}");
        check(&[3.0], 3.0);
        check(&[9.0, 1.0, 5.0], 5.0);
        check(&[1.0, 2.0, 4.0, 9.0], 3.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        let check = |share: f64, wanted: f64| assert!((quantile(&values, share) - wanted).abs() < 1e-9, "{share}");
        check(0.0, 0.0);
        check(0.5, 50.0);
        check(0.99, 99.0);
        check(1.0, 100.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
