//! How fast a total outage of green is decided and acted upon, under load, by the real binary.
//!
//! `cargo bench --bench reaction [-- REPETITIONS REQUESTS_PER_SECOND]` (20 at 20,000). A thousand connections stay open over all
//! repetitions, each of which is a shift of its own to a green of its own: healthy for a second at its share, then broken between two
//! requests. What is printed is the shift's own report, and what the clients saw. Clients and model servers share one thread.

mod load;
mod message;
mod models;
mod proxy;

use std::{error::Error, time::Duration};

use serde_json::{Value, json};
use snapback::clock;

use self::{
    load::Load,
    models::{Answer, Model},
    proxy::Proxy,
};

const CONNECTIONS: u32 = 1_000;

/// How long green is well at its share. By then the guard has placed most of its bets, so an outage takes more responses than at a
/// step's start.
const HEALTHY: Duration = Duration::from_secs(1);

/// For the answers that were under way to reach the clients after a shift is over.
const SETTLING: Duration = Duration::from_millis(100);

/// The guard's bound, and the plan's default for all its alarms together.
const BOUND: f64 = 0.01;
const FALSE_ALARM: f64 = 0.001;

type Checked<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How green ends.
#[derive(Clone, Copy)]
enum Outage {
    Status500,
    Refused,
    ErrorEvent,
}

enum Ended {
    ByGuard(Reaction),
    /// On a machine that is busy with other things the watchdog may be first, and then there is nothing to measure.
    ByWatchdog,
}

/// What one shift came to.
struct Reaction {
    /// Green's failures when the decision fell: it had none before.
    responses: u64,
    /// Dealt to green and not answered when the decision fell: until they fail they speak for green.
    in_flight: u64,
    healthy: u64,
    decision_ms: f64,
    /// From the outage, to the millisecond that the report's moments have.
    outage_to_decision_ms: f64,
    last_dispatch_ms: f64,
    rate: f64,
    client_failures: u64,
}

fn main() -> Checked<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u32>().ok());
    let repetitions = numbers.next().unwrap_or(20).max(1) as usize;
    let rate = numbers.next().unwrap_or(20_000).max(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(repetitions, rate.into()))
}

async fn run(repetitions: usize, rate: f64) -> Checked<()> {
    let folder = tempfile::tempdir()?;
    let blue = Model::start()?;
    let proxy = Proxy::start(folder.path(), blue.address)?;
    let load = Load::start(proxy.data, CONNECTIONS, rate);
    tokio::time::sleep(HEALTHY).await;

    // A response that fails at certainty weighs ln(1/bound) at most, by a bet on just this placed at just this moment.
    let limit = (FALSE_ALARM.ln() / BOUND.ln()).ceil();
    println!(
        "{CONNECTIONS} connections, {repetitions} shifts a row; median / p99 / worst; no test of this guard needs fewer than {limit} responses\n"
    );
    println!(
        "| outage | share | requests/s | healthy green responses | green responses to decision | green in flight then | outage to decision ms | decision ms | published to last green dispatch ms | client failures |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for outage in [Outage::Status500, Outage::Refused, Outage::ErrorEvent] {
        for share in ["10%", "50%"] {
            let (mut reactions, mut stalls) = (Vec::new(), 0);
            while reactions.len() < repetitions {
                match react(&proxy, &load, outage, share).await? {
                    Ended::ByGuard(reaction) => reactions.push(reaction),
                    Ended::ByWatchdog if stalls == repetitions => {
                        return Err("the machine is too busy".into());
                    }
                    Ended::ByWatchdog => stalls += 1,
                }
            }
            report(outage, share, &reactions);
            if stalls > 0 {
                eprintln!("{stalls} more shifts ended because the evaluator got no core for a second");
            }
        }
    }
    Ok(())
}

/// A shift from its start to its rollback.
async fn react(proxy: &Proxy, load: &Load, outage: Outage, share: &str) -> Checked<Ended> {
    let green = Model::start()?;
    let plan = json!({
        "green": { "version": "v2", "instances": [green.address.to_string()] },
        "strategy": { "type": "canary", "share": share, "bake": "10m", "final_bake": "10m" },
        "guard": [{ "metric": "error_rate", "below": format!("{}%", BOUND * 100.0) }],
        "false_alarm": format!("{}%", FALSE_ALARM * 100.0),
    });
    let id = proxy.start_shift(&plan).await?;
    proxy.shift_in(&id, "baking").await?;
    let (began, before) = (clock::now(), load.answers());
    tokio::time::sleep(HEALTHY).await;
    let rate = (load.answers() - before) as f64 / clock::now().since(began).as_secs_f64();
    let was_well = proxy.shift_in(&id, "baking").await?;

    drop(load.take_bad());
    let failed_before = load.failures();
    let broke = clock::wall();
    // A dead green is dropped here, a sick one lives to the end of its shift.
    let _sick = outage.strike(green);
    let shift = proxy.shift_in(&id, "rolled_back").await?;
    tokio::time::sleep(SETTLING).await;
    let client_failures = load.failures() - failed_before;
    load.take_bad().iter().for_each(|bad| eprintln!("a client got {bad:?}"));
    match shift["cause"]["kind"].as_str() {
        Some("alarm") if was_well["over"] == false => {}
        Some("evaluator_stalled") => return Ok(Ended::ByWatchdog),
        _ => return Err(format!("the shift did not end by its guard after the outage: {shift:#}").into()),
    }
    let number = |value: &Value| value.as_f64().ok_or_else(|| format!("a figure is missing: {shift:#}"));
    let count = |value: &Value| value.as_u64().ok_or_else(|| format!("a count is missing: {shift:#}"));
    let responses = count(&shift["alarms"][0]["failures"])?;
    let decided: jiff::Timestamp = shift["decided_at"].as_str().ok_or("no decision")?.parse()?;
    Ok(Ended::ByGuard(Reaction {
        responses,
        in_flight: count(&shift["green_in_flight_at_decision"])?,
        healthy: count(&shift["green_responses_to_decision"])? - responses,
        decision_ms: number(&shift["decision_ms"])?,
        outage_to_decision_ms: (decided.as_millisecond() - broke.as_millis()) as f64,
        last_dispatch_ms: number(&shift["publish_to_last_green_dispatch_ms"])?,
        rate,
        client_failures,
    }))
}

impl Outage {
    fn name(self) -> &'static str {
        match self {
            Self::Status500 => "500 to all",
            Self::Refused => "connections closed and refused",
            Self::ErrorEvent => "error event in a 200 stream",
        }
    }

    /// Green as it is afterwards.
    fn strike(self, green: Model) -> Option<Model> {
        match self {
            Self::Status500 => green.say(Answer::ServerError),
            Self::Refused => return None,
            Self::ErrorEvent => green.say(Answer::ErrorEvent),
        }
        Some(green)
    }
}

fn report(outage: Outage, share: &str, reactions: &[Reaction]) {
    let spread = |figure: fn(&Reaction) -> f64, digits: usize| {
        let mut figures: Vec<f64> = reactions.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let quantile = |percent: usize| figures[(figures.len() * percent).div_ceil(100) - 1];
        format!("{:.digits$} / {:.digits$} / {:.digits$}", quantile(50), quantile(99), quantile(100))
    };
    let mean =
        |figure: fn(&Reaction) -> f64| reactions.iter().map(figure).sum::<f64>() / reactions.len() as f64;
    println!(
        "| {} | {share} | {:.0} | {:.0} | {} | {} | {} | {} | {} | {} |",
        outage.name(),
        mean(|reaction| reaction.rate),
        mean(|reaction| reaction.healthy as f64),
        spread(|reaction| reaction.responses as f64, 0),
        spread(|reaction| reaction.in_flight as f64, 0),
        spread(|reaction| reaction.outage_to_decision_ms, 0),
        spread(|reaction| reaction.decision_ms, 2),
        spread(|reaction| reaction.last_dispatch_ms, 2),
        reactions.iter().map(|reaction| reaction.client_failures).sum::<u64>(),
    );
}
