//! The texts that `snapback init` writes.

use crate::cli::args::InitArgs;

/// A configuration with what was said, and next to it what most people look for first.
pub(super) fn config(args: &InitArgs) -> String {
    let InitArgs { blue, endpoint, blue_version: version, listen, admin_listen, health, .. } = args;
    let instances = list(blue);
    let data = commented(
        &format!("listen = [{listen:?}]"),
        "where clients connect; \"0.0.0.0:8080\" lets other machines in",
    );
    let admin = commented(
        &format!("listen = {admin_listen:?}"),
        "where operators and Prometheus connect; see `snapback token new` before it leaves this machine",
    );
    let health = match health {
        Some(path) => commented(&format!("health = {{ path = {path:?} }}"), "asked every 5 s; 2xx is well"),
        None => "# health = { path = \"/health\" }          # asks for more than a connection: a model may still be loading".to_owned(),
    };
    format!(
        "\
# Snapback's configuration, as `snapback init` wrote it. `snapback check -c FILE` says what it comes to, and what the defaults of all
# other keys are; a running proxy reads changed endpoints on SIGHUP or `snapback reload`.

[data]
{data}
expose_fleet = true                     # answers say who served them, in x-snapback-fleet; leave it out to keep that from clients

[admin]
{admin}

[state]
path = \"snapback.db\"                    # the journal, in the folder that `snapback serve` is started from

[[endpoint]]
name = \"{endpoint}\"
# match = {{ path_prefix = \"/v1/\" }}      # which requests are its own; without it, all
blue = {{ version = \"{version}\", instances = [{instances}] }}
{health}
# limits = {{ total_timeout = \"2m\" }}     # from a request's head to the last byte of its answer; without it, as long as it flows
"
    )
}

/// A plan that a first shift goes through in two minutes, at a few requests a second.
pub(super) fn plan(args: &InitArgs) -> String {
    let InitArgs { green, endpoint, green_version: version, .. } = args;
    let instances = list(green);
    format!(
        "\
# How {version} comes in: `snapback shift start {endpoint} plan.toml --watch`. `snapback plan lint {endpoint} plan.toml` says what its alarms
# can find at the traffic there is.

green = {{ version = \"{version}\", instances = [{instances}] }}

# A quarter more every 30 seconds. Other ways: canary, all_at_once, rolling, steps of your own.
strategy = {{ type = \"linear\", step = \"25%\", bake = \"30s\", final_bake = \"30s\" }}

[[guard]]                               # goes back as soon as it is certain that more than this fails
metric = \"error_rate\"
below = \"5%\"

# [[guard]]                             # and this for answers that come too late
# metric = \"latency\"
# quantile = \"p99\"
# below = \"2s\"
"
    )
}

fn list(addresses: &[String]) -> String {
    addresses.iter().map(|address| format!("{address:?}")).collect::<Vec<_>>().join(", ")
}

/// A key with what is to be said of it, where the other lines have that.
fn commented(key: &str, comment: &str) -> String {
    format!("{key:<39} # {comment}")
}
