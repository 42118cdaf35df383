use super::{Trial, assert_near};

/// Batches of (requests, failures) and ln E after each.
fn check(name: &str, trial: &mut Trial, batches: &[(u32, f64, f64)]) {
    for (place, (requests, failures, expected)) in batches.iter().enumerate() {
        assert_near(trial.batch(*requests, *failures), *expected, format_args!("{name}, batch {place}"));
    }
}

#[test]
fn one_step() {
    let batches = [
        (1, 0.0, -0.10045226489),
        (10, 0.0, -0.243782016186),
        (53, 1.0, -0.246375954266),
        (64, 0.0, -0.531959347549),
        (1, 1.0, 0.552327519214),
        (1, 1.0, 4.25495839452),
        (1, 1.0, 8.63226124991),
    ];
    check("1 %", &mut Trial::new(0.01, 1), &batches);
}

#[test]
fn two_steps() {
    let mut trial = Trial::new(0.01, 2);
    check("first step", &mut trial, &[(100, 0.0, -0.208062502297), (100, 2.0, -0.202385765525)]);
    trial.begin_step();
    check("second step", &mut trial, &[(5, 1.0, 0.457524938823), (5, 2.0, 4.74040636315)]);
}

#[test]
fn fractional_failures() {
    let batches = [
        (1, 0.25, 0.00587134814215),
        (4, 1.5, 0.793365363265),
        (1_000_000, 50_000.0, -std::f64::consts::LN_2),
        (1, 1.0, 0.0662884918564),
    ];
    check("5 %", &mut Trial::new(0.05, 1), &batches);
}

#[test]
fn large_batches_and_an_empty_one() {
    let batches = [
        (2, 2.0, 10.8097866563),
        (0, 0.0, 10.8097866563),
        (10_000, 3.0, -0.659723195174),
        (20_000, 400.0, 770.529487346),
    ];
    check("0.1 %", &mut Trial::new(0.001, 1), &batches);
}

#[test]
fn late_failures_pay_only_bets_placed_before_their_requests() {
    let batches = [
        (64, 0.0, 0.0, true, -0.416927497633),
        (10, 0.0, 0.0, false, -0.434253029409),
        (10, 1.0, 0.0, true, -0.192475467842),
        (0, 0.0, 2.0, false, 0.478177305496),
        (60, 1.0, 1.0, false, 0.996085000358),
        (5, 1.0, 0.0, true, 1.88598790667),
        (0, 2.0, 1.0, true, 6.62098635886),
    ];
    let mut trial = Trial::new(0.01, 1);
    for (place, (requests, failures, late, settled, expected)) in batches.into_iter().enumerate() {
        trial.cohorts(requests, failures, late, settled);
        assert_near(trial.ln_e(), expected, format_args!("batch {place}"));
    }
}
