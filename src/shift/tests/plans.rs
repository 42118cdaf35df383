//! Which plans there are, and which there are not.

use super::*;
use crate::shift::{Approval, PlanError, StrategyKind};

fn shape(plan: &ShiftPlan) -> Vec<(String, u64)> {
    plan.steps().iter().map(|step| (step.share.to_string(), step.bake.as_secs())).collect()
}

fn steps_of(strategy: Strategy) -> Vec<(String, u64)> {
    shape(&plan(strategy))
}

fn pairs(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(share, bake)| ((*share).to_owned(), *bake)).collect()
}

fn error(strategy: Strategy) -> PlanError {
    ShiftPlan::new(strategy, limits()).unwrap_err()
}

#[test]
fn all_at_once_is_one_step_and_a_canary_two() {
    assert_eq!(steps_of(Strategy::AllAtOnce { final_bake: span("3m") }), pairs(&[("100%", 180)]));
    assert_eq!(steps_of(canary()), pairs(&[("10%", 300), ("100%", 600)]));
    assert_eq!(plan(canary()).kind(), StrategyKind::Canary);
}

#[test]
fn a_linear_plan_takes_as_many_steps_as_it_needs_and_ends_with_the_final_bake() {
    let linear = |step| Strategy::Linear { step: share(step), bake: span("2m"), final_bake: span("3m") };
    assert_eq!(steps_of(linear("25%")), pairs(&[("25%", 120), ("50%", 120), ("75%", 120), ("100%", 180)]));
    assert_eq!(steps_of(linear("30%")), pairs(&[("30%", 120), ("60%", 120), ("90%", 120), ("100%", 180)]));
    assert_eq!(steps_of(linear("100%")), pairs(&[("100%", 180)]));
    let finest = ShiftLimits { execution_timeout: span("30d"), ..limits() };
    assert_eq!(plan_with(linear("0.01%"), finest).steps().len(), 10_000);
}

#[test]
fn written_steps_below_the_whole_get_a_last_step_with_the_final_bake() {
    let plan = plan(approved());
    assert_eq!(shape(&plan), pairs(&[("25%", 300), ("100%", 600)]));
    assert_eq!(plan.steps()[0].approval, Approval::Required);
    assert_eq!(plan.steps()[1].approval, Approval::NotNeeded);
    let steps = vec![Step::new(share("5%"), span("1m"))];
    assert_eq!(steps_of(Strategy::Steps { steps, final_bake: None }), pairs(&[("5%", 60), ("100%", 0)]));
}

#[test]
fn a_written_step_to_the_whole_keeps_its_own_bake_and_a_final_bake_beside_it_is_refused() {
    let steps = vec![Step::new(share("50%"), span("1m")), Step::with_approval(Share::ALL, span("4m"))];
    let written = Strategy::Steps { steps: steps.clone(), final_bake: None };
    assert_eq!(steps_of(written), pairs(&[("50%", 60), ("100%", 240)]));
    let twice = error(Strategy::Steps { steps, final_bake: Some(span("9m")) });
    assert_eq!(twice, PlanError::FinalBakeUnused { number: 2 });
    assert!(twice.to_string().contains("step 2 gives 100% itself"), "{twice}");
}

#[test]
fn steps_that_fall_stand_or_give_nothing_are_refused_with_their_number() {
    let steps = |shares: &[&str]| Strategy::Steps {
        steps: shares.iter().map(|text| Step::new(share(text), span("1m"))).collect(),
        final_bake: None,
    };
    let error_of = |shares: &[&str]| error(steps(shares)).to_string();
    assert_eq!(error(steps(&[])), PlanError::NoSteps);
    assert_eq!(
        error_of(&["10%", "30%", "20%"]),
        "step 3 gives green 20%, which is not more than the 30% of the step before: shares must rise"
    );
    assert!(error_of(&["10%", "10%"]).contains("step 2"));
    assert!(error_of(&["100%", "50%"]).contains("step 2"));
    assert_eq!(error(steps(&["0%", "10%"])), PlanError::EmptyStep { number: 1 });
    let (bake, final_bake) = (span("1m"), span("1m"));
    let none = Share::NONE;
    assert_eq!(error(Strategy::Canary { share: none, bake, final_bake }), PlanError::EmptyStep { number: 1 });
    assert_eq!(error(Strategy::Linear { step: none, bake, final_bake }), PlanError::EmptyStep { number: 1 });
    assert_eq!(error(Strategy::Canary { share: Share::ALL, bake, final_bake }), PlanError::WholeCanary);
}

#[test]
fn a_timeout_must_be_longer_than_all_waits_together() {
    let limits = |text| ShiftLimits {
        execution_timeout: span(text),
        termination_wait: span("2m"),
        ..ShiftLimits::default()
    };
    let error = ShiftPlan::new(canary(), limits("17m")).unwrap_err().to_string();
    assert!(
        error.starts_with("execution_timeout 17m is not longer than the plan's waits, 17m in all"),
        "{error}"
    );
    let plan = plan_with(canary(), limits("17m1s"));
    assert_eq!(plan.waits(), span("17m"));
}

#[test]
fn waits_beyond_all_reckoning_are_an_error_and_no_overflow() {
    let endless = Strategy::Canary { share: share("1%"), bake: Duration::MAX, final_bake: Duration::MAX };
    assert!(matches!(error(endless), PlanError::TimeoutTooShort { .. }));
}

#[test]
fn a_part_of_a_fleet_is_rounded_up_to_whole_instances_and_a_count_is_taken_as_it_is() {
    let part = |text, size| Batch::Part(share(text)).of(NonZeroU32::new(size).unwrap());
    assert_eq!(part("33%", 3), 1, "SageMaker's sample");
    assert_eq!((part("34%", 3), part("50%", 3), part("5%", 3), part("5%", 1)), (2, 2, 1, 1));
    assert_eq!((part("5%", 20), part("5%", 21), part("50%", 20), part("100%", 7)), (1, 2, 10, 7));
    assert_eq!(part("0.01%", 10), 1);
    assert_eq!(Batch::Part(Share::ALL).of(NonZeroU32::MAX), u32::MAX);
    let count = |count, size| instances(count).of(NonZeroU32::new(size).unwrap());
    assert_eq!((count(1, 3), count(3, 3), count(4, 3)), (1, 3, 3));
}

#[test]
fn a_rolling_plan_takes_as_many_batches_as_its_fleet_needs_and_every_one_bakes() {
    let shape_of = |batch, size| shape(&plan(rolling(batch, None)).sized(sizes(size, size)).unwrap());
    let thirds = pairs(&[("33.34%", 60), ("66.67%", 60), ("100%", 60)]);
    assert_eq!(shape_of(Batch::Part(share("33%")), 3), thirds);
    assert_eq!(shape_of(instances(1), 3), thirds);
    assert_eq!(shape_of(instances(2), 3), pairs(&[("66.67%", 60), ("100%", 60)]));
    assert_eq!(
        shape_of(Batch::Part(share("25%")), 4),
        pairs(&[("25%", 60), ("50%", 60), ("75%", 60), ("100%", 60)])
    );
    assert_eq!(shape_of(Batch::Part(share("50%")), 5), pairs(&[("60%", 60), ("100%", 60)]));
    let plan = plan(rolling(instances(1), None));
    assert_eq!((plan.kind(), shape(&plan)), (StrategyKind::Rolling, pairs(&[("100%", 60)])), "not sized yet");
    assert_eq!(plan.sized(sizes(3, 3)).unwrap().waits(), span("3m"), "sagemaker's n times the wait");
}

#[test]
fn a_rolling_plan_that_cannot_be_is_refused() {
    let sized =
        |strategy, limits, size| ShiftPlan::new(strategy, limits).and_then(|plan| plan.sized(sizes(3, size)));
    let none = Batch::Part(Share::NONE);
    assert_eq!(error(rolling(none, None)), PlanError::EmptyBatch { key: "batch" });
    assert_eq!(error(rolling(instances(1), Some(none))), PlanError::EmptyBatch { key: "rollback_batch" });
    let too_large = sized(rolling(instances(4), None), limits(), 3).unwrap_err();
    assert_eq!(too_large, PlanError::BatchTooLarge { batch: 4, size: 3 });
    assert_eq!(error_with(with_termination_wait()), PlanError::TerminationWaitUnused);
    let short = ShiftLimits { execution_timeout: span("3m"), ..limits() };
    assert!(matches!(sized(rolling(instances(1), None), short, 3), Err(PlanError::TimeoutTooShort { .. })));
    assert!(sized(rolling(instances(1), Some(instances(9))), limits(), 3).is_ok(), "all of blue is enough");
}

fn error_with(limits: ShiftLimits) -> PlanError {
    ShiftPlan::new(rolling(instances(1), None), limits).unwrap_err()
}

#[test]
fn the_fleets_of_another_strategy_may_have_any_size() {
    let plan = plan(canary());
    assert_eq!(plan.clone().sized(sizes(1, 9)).unwrap(), plan);
}

#[test]
fn at_every_step_of_every_small_rolling_plan_the_instances_are_enough_and_not_too_many() {
    for (blue, green) in (1..=8).flat_map(|blue| (1..=8).map(move |green| (blue, green))) {
        for batch in 1..=green {
            let plan = plan(rolling(instances(batch), Some(instances(1)))).sized(sizes(blue, green)).unwrap();
            let rolling = plan.rolling().unwrap();
            let steps = plan.steps().len();
            assert_eq!(steps, usize::try_from(green.div_ceil(batch)).unwrap());
            assert_eq!((rolling.green(steps - 1), rolling.blue_after(steps - 1)), (green, 0));
            for step in 0..steps {
                let told = format!("{blue} to {green} by {batch}, step {step}");
                let most = rolling.blue_before(step) + rolling.green(step);
                let least = rolling.blue_after(step) + rolling.green(step);
                assert!(most <= blue.max(green) + batch, "{told}: {most} exist");
                assert!(least >= blue.min(green), "{told}: {least} serve");
                assert!(blue != green || least == blue, "{told}: {least} serve");
            }
        }
    }
}
