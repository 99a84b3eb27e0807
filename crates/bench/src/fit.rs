//! How a figure grows: the exponent of the power that fits it best.

/// The exponent `b` of the `a · n^b` that fits these points `(n, figure)` best: the slope of the line through their
/// logarithms by least squares. 0: it does not grow; 1: as `n` does. None where there are not two points of different `n`,
/// or one is not positive.
#[must_use]
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let positive = |&(n, figure): &(f64, f64)| n > 0.0 && figure > 0.0 && n.is_finite() && figure.is_finite();
    if !points.iter().all(positive) {
        return None;
    }
    let logarithms: Vec<_> = points.iter().map(|(n, figure)| (n.ln(), figure.ln())).collect();
    let count = f64::from(u32::try_from(logarithms.len()).ok()?);
    let mean = |of: fn(&(f64, f64)) -> f64| logarithms.iter().map(of).sum::<f64>() / count;
    let (mean_n, mean_figure) = (mean(|point| point.0), mean(|point| point.1));
    let (mut product, mut square) = (0.0, 0.0);
    for (n, figure) in logarithms {
        product += (n - mean_n) * (figure - mean_figure);
        square += (n - mean_n).powi(2);
    }
    (square > 0.0).then_some(product / square)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn holds(points: &[(f64, f64)], wanted: f64) {
        let found = exponent(points).unwrap();
        assert!((found - wanted).abs() < 1e-9, "{found} instead of {wanted}");
    }

    #[test]
    fn a_power_has_its_exponent_whatever_its_factor() {
        holds(&[(10.0, 7.0), (100.0, 7.0), (1_000.0, 7.0)], 0.0);
        holds(&[(10.0, 3.0), (100.0, 30.0), (1_000.0, 300.0)], 1.0);
        holds(&[(1.0, 5.0), (4.0, 10.0)], 0.5);
        holds(&[(1.0, 8.0), (2.0, 2.0)], -2.0);
    }

    #[test]
    fn between_points_off_the_line_the_squares_decide() {
        // ln-ln: (0, 0), (1, 2), (2, 1) have the slope 1/2.
        let e = std::f64::consts::E;
        holds(&[(1.0, 1.0), (e, e * e), (e * e, e)], 0.5);
    }

    #[test]
    fn without_two_positive_points_there_is_none() {
        assert_eq!(exponent(&[]), None);
        assert_eq!(exponent(&[(10.0, 1.0)]), None);
        assert_eq!(exponent(&[(10.0, 1.0), (10.0, 2.0)]), None);
        assert_eq!(exponent(&[(10.0, 1.0), (20.0, 0.0)]), None);
        assert_eq!(exponent(&[(10.0, 1.0), (20.0, f64::NAN)]), None);
    }
}
