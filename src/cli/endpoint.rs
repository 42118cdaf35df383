//! `snapback endpoint list|show|scale|weights|undo`.

use super::{
    CliError,
    args::{Asked, Because, EndpointCommand, OneEndpoint},
    client::Client,
    freeze,
    output::{
        Column::{Left, Right, State},
        Output, Table,
    },
    plan_file, report, shift,
    view::text::{count, first, millis, per_second, percent},
};
use crate::admin::wire;

/// Answers a question about endpoints.
pub(super) async fn endpoint(args: Asked<EndpointCommand>, output: &mut Output) -> Result<(), CliError> {
    let client = Client::new(&args.connection);
    let answer = match &args.command {
        EndpointCommand::List => client.get("/v1/endpoints").await?,
        EndpointCommand::Show { which: OneEndpoint { endpoint } } => {
            client.get(&format!("/v1/endpoints/{endpoint}")).await?
        }
        EndpointCommand::Scale { which: OneEndpoint { endpoint }, count } => {
            let body = serde_json::to_value(wire::ScaleBody { count: *count, actor: None });
            let body = body.expect("a number is JSON");
            client.post(&format!("/v1/endpoints/{endpoint}/scale"), Some(body)).await?
        }
        EndpointCommand::Weights { which: OneEndpoint { endpoint }, weights, dry_run } => {
            let body = wire::WeightsBody { weights: weights.iter().cloned().collect(), actor: None };
            let body = serde_json::to_value(body).expect("texts and numbers are JSON");
            let query = dry_run.query();
            client.post(&format!("/v1/endpoints/{endpoint}/weights{query}"), Some(body)).await?
        }
        EndpointCommand::Undo {
            which: OneEndpoint { endpoint },
            plan,
            dry_run,
            because: Because { reason },
        } => {
            let plan = plan.as_deref().map(plan_file::read_part).transpose()?;
            let body = wire::UndoBody { reason: reason.clone(), actor: None, plan };
            let body = serde_json::to_value(body).expect("texts and JSON are JSON");
            let query = dry_run.query();
            client.post(&format!("/v1/endpoints/{endpoint}/undo{query}"), Some(body)).await?
        }
    };
    output.answer(&answer, || match args.command {
        EndpointCommand::List => Ok(list(&answer.read()?)),
        EndpointCommand::Show { .. } | EndpointCommand::Scale { .. } | EndpointCommand::Weights { .. } => {
            Ok(show(&answer.read()?))
        }
        EndpointCommand::Undo { .. } => Ok(report::started(&answer.read()?)),
    })
}

pub(super) fn list(answer: &wire::Endpoints) -> String {
    if answer.endpoints.is_empty() {
        return "no endpoints yet: declare one in the configuration file, or with PUT /v1/endpoints/NAME"
            .to_owned();
    }
    let mut table = Table::new([
        Left("ENDPOINT"),
        Left("BLUE"),
        Left("GREEN"),
        Right("SHARE"),
        Right("REQ/S"),
        Right("ERRORS"),
        Right("P99"),
        Right("HEALTHY"),
        Left("SHIFT"),
    ]);
    for endpoint in &answer.endpoints {
        let fleets = || std::iter::once(&endpoint.blue).chain(&endpoint.green);
        let rate: f64 = fleets().map(|fleet| fleet.recent.rate).sum();
        let errors: f64 = fleets().map(|fleet| fleet.recent.error_rate * fleet.recent.rate).sum();
        let slowest = fleets().filter_map(|fleet| fleet.recent.p99_ms).max_by(f64::total_cmp);
        let instances = || fleets().flat_map(|fleet| &fleet.instances);
        let healthy = instances().filter(|instance| instance.health == "healthy").count();
        table.row([
            endpoint.name.clone(),
            endpoint.blue.version.clone(),
            endpoint.green.as_ref().map_or_else(dash, |green| green.version.clone()),
            endpoint.green.as_ref().map_or_else(dash, |_| endpoint.share.clone()),
            per_second(rate),
            percent(if rate > 0.0 { errors / rate } else { 0.0 }),
            millis(slowest),
            format!("{healthy}/{}", instances().count()),
            endpoint.running_shift.clone().unwrap_or_else(dash),
        ]);
    }
    table.to_string()
}

fn show(endpoint: &wire::Endpoint) -> String {
    let fleets = || std::iter::once(&endpoint.blue).chain(&endpoint.green);
    let has_tokens = fleets().any(|fleet| fleet.recent.first_token_p50_ms.is_some());
    let mut traffic = Table::new([
        Left("FLEET"),
        Left("VERSION"),
        Right("SHARE"),
        Right("REQ/S"),
        Right("ERRORS"),
        Right("P50"),
        Right("P99"),
        Right(if has_tokens { "FIRST TOKEN" } else { "FIRST BYTE" }),
        Right("REQUESTS"),
        Right("FAILED"),
    ]);
    let mut instances =
        Table::new([Left("FLEET"), Left("INSTANCE"), Right("WEIGHT"), State("HEALTH"), Right("IN FLIGHT")]);
    let blue_share = super::view::complement(&endpoint.share);
    let blue = ("blue", blue_share, &endpoint.blue);
    let green = endpoint.green.as_ref().map(|green| ("green", endpoint.share.clone(), green));
    for (side, share, fleet) in std::iter::once(blue).chain(green) {
        traffic.row([
            side.to_owned(),
            fleet.version.clone(),
            share,
            per_second(fleet.recent.rate),
            percent(fleet.recent.error_rate),
            millis(fleet.recent.p50_ms),
            millis(fleet.recent.p99_ms),
            first(&fleet.recent, has_tokens),
            count(fleet.traffic.requests),
            count(fleet.traffic.failed),
        ]);
        for instance in &fleet.instances {
            instances.row([
                side.to_owned(),
                instance.address.clone(),
                count(instance.weight.into()),
                if instance.ejected {
                    format!("{}, ejected", instance.health)
                } else {
                    instance.health.clone()
                },
                count(instance.in_flight),
            ]);
        }
    }
    format!("{}\n{traffic}\n{}{instances}", standing(endpoint), variants(fleets()))
}

/// Who declared it, and what of it runs and waits.
fn standing(endpoint: &wire::Endpoint) -> String {
    let wire::Endpoint { name, origin, generation, .. } = endpoint;
    let running = endpoint.running_shift.as_deref().unwrap_or("none");
    let frozen = endpoint.freeze.as_ref();
    let frozen = frozen.map(|freeze| format!("freeze    {}\n", freeze::line(freeze))).unwrap_or_default();
    let queue: String =
        endpoint.queue.iter().map(|queued| format!("queue     {}\n", shift::queued_line(queued))).collect();
    format!(
        "endpoint  {name}, declared by {origin}, table {generation}\nshift     {running}\n{frozen}{queue}"
    )
}

/// The variants of fleets that have some, and an empty line.
fn variants<'a>(fleets: impl Iterator<Item = &'a wire::Fleet>) -> String {
    let mut table = Table::new([
        Left("VERSION"),
        Left("VARIANT"),
        Right("WEIGHT"),
        Right("INSTANCES"),
        Right("REQUESTS"),
        Right("FAILED"),
    ]);
    let mut is_empty = true;
    for (fleet, variant) in
        fleets.flat_map(|fleet| fleet.variants.iter().map(move |variant| (fleet, variant)))
    {
        is_empty = false;
        table.row([
            fleet.version.clone(),
            variant.name.clone(),
            variant.weight.to_string(),
            variant.instances.len().to_string(),
            count(variant.traffic.requests),
            count(variant.traffic.failed),
        ]);
    }
    if is_empty { String::new() } else { format!("{table}\n") }
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::endpoint_now;

    #[test]
    fn variants_are_shown_where_there_are_some() {
        let mut endpoint = endpoint_now();
        assert!(!show(&endpoint).contains("VARIANT"));
        let traffic = endpoint.blue.traffic.clone();
        endpoint.blue.variants =
            vec![wire::Variant { name: "a".into(), weight: 0.25, instances: vec!["h:1".into()], traffic }];
        let shown = show(&endpoint);
        assert!(shown.contains("VARIANT") && shown.contains("0.25"), "{shown}");
    }

    #[test]
    fn where_tokens_are_streamed_the_first_one_is_shown_with_its_p99() {
        let mut endpoint = endpoint_now();
        assert!(show(&endpoint).contains("FIRST BYTE"));
        let recent = &mut endpoint.blue.recent;
        (recent.first_token_p50_ms, recent.first_token_p99_ms) = (Some(120.0), Some(1_240.0));
        let shown = show(&endpoint);
        assert!(shown.contains("FIRST TOKEN") && shown.contains("120ms/1.24s"), "{shown}");
    }
}
