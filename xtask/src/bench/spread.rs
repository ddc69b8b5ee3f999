//! Medians and deciles.

use std::fmt;

/// Median of many figures, and the bounds of the lowest and the highest tenth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) p10: f64,
    pub(crate) p90: f64,
}

impl Spread {
    /// The spread of figures; NaN without figures.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let at = |tenths: usize| {
            let place = figures.len().saturating_sub(1) * tenths / 10;
            figures.get(place).copied().unwrap_or(f64::NAN)
        };
        Self { median: at(5), p10: at(1), p90: at(9) }
    }

    /// The spread of ratios of figures from the same round.
    pub(crate) fn of_ratios(figures: &[f64], to: &[f64]) -> Self {
        Self::of(figures.iter().zip(to).map(|(figure, to)| figure / to))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.median, self.p10, self.p90)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_are_found() {
        let spread = Spread::of((0..=10).rev().map(f64::from));
        assert_eq!(spread, Spread { median: 5.0, p10: 1.0, p90: 9.0 });
        assert!(Spread::of([]).median.is_nan());
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        assert_eq!(Spread::of_ratios(&[2.0, 40.0, 6.0], &[1.0, 20.0, 3.0]).p90, 2.0);
        assert_eq!(Spread::of_ratios(&[1.0], &[4.0]).to_string(), "0.250 (0.250 to 0.250)");
    }
}
