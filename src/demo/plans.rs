//! The demo's configuration and plans, as a user would write them.

use std::{net::SocketAddr, path::Path};

use super::model::ModelVersion;

/// The endpoint's name.
pub(super) const ENDPOINT: &str = "chat";

/// The configuration file.
pub(super) fn configuration(
    data: SocketAddr,
    admin: SocketAddr,
    journal: &Path,
    v1: &[SocketAddr],
) -> String {
    let journal = toml::Value::from(journal.to_string_lossy().as_ref());
    let blue = fleet(ModelVersion::V1, v1);
    format!(
        r#"[data]
listen = ["{data}"]

[admin]
listen = "{admin}"

[state]
path = {journal}

[[endpoint]]
name = "{ENDPOINT}"
blue = {blue}

[endpoint.health]
path = "/health"
interval = "500ms"
"#
    )
}

/// The good release: a linear shift. The bakes are seconds, so that the demo is; a real plan bakes for minutes.
pub(super) fn good_release(v2: &[SocketAddr]) -> String {
    plan(ModelVersion::V2, v2, r#"{ type = "linear", step = "25%", bake = "2s", final_bake = "2s" }"#)
}

/// The bad release: a canary, with a bake that would be long enough to watch it for a while.
pub(super) fn bad_release(v3: &[SocketAddr]) -> String {
    plan(ModelVersion::V3, v3, r#"{ type = "canary", share = "20%", bake = "10s", final_bake = "5s" }"#)
}

/// Both plans have the same guards. Nearly all answers of the first two versions take less than 0.1 s; the bound leaves room for a
/// machine that compiles something at the same time.
fn plan(version: ModelVersion, instances: &[SocketAddr], strategy: &str) -> String {
    let green = fleet(version, instances);
    format!(
        r#"green = {green}
strategy = {strategy}
execution_timeout = "60s"

[[guard]]
name = "errors"
metric = "error_rate"
below = "1%"

[[guard]]
name = "slow"
metric = "latency"
quantile = "p99"
below = "750ms"
"#
    )
}

fn fleet(version: ModelVersion, instances: &[SocketAddr]) -> String {
    let instances: Vec<String> = instances.iter().map(|address| format!("\"{address}\"")).collect();
    format!("{{ version = \"{version}\", instances = [{}] }}", instances.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, PlanSpec};

    #[test]
    fn the_configuration_and_both_plans_are_ones_that_snapback_takes() {
        let address: SocketAddr = "127.0.0.1:9001".parse().unwrap();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let text = configuration(free, free, Path::new("/tmp/a \"b\"/j.db"), &[address]);
        let config = config::parse(&text, "demo").unwrap();
        assert_eq!(config.state.path, Path::new("/tmp/a \"b\"/j.db"));
        for plan in [good_release(&[address]), bad_release(&[address])] {
            PlanSpec::from_toml(&plan, "plan").unwrap();
        }
    }
}
