//! Every key there is, table by table. The reader refuses what is not here, and names the nearest that is.

/// The keys of one table of a document.
#[derive(Debug)]
pub(super) struct Shape {
    /// The table's path, list indices left out: `endpoint.health`. Empty for the document itself.
    pub(super) path: &'static str,
    /// The keys it takes.
    pub(super) keys: &'static [&'static str],
    /// Keys that a reader of the documentation may expect, and why this version does not take them.
    pub(super) refused: &'static [(&'static str, &'static str)],
    /// The shapes of the whole document, for a key that was written into the wrong table.
    pub(super) document: &'static [&'static Shape],
}

macro_rules! shapes {
    ($document:ident: $($name:ident $path:literal [$($key:literal)*] $(=> refused [$($old:literal: $why:expr),*])?)*) => {
        $(pub(super) static $name: Shape = Shape {
            path: $path,
            keys: &[$($key),*],
            refused: &[$($(($old, $why)),*)?],
            document: $document,
        };)*
        pub(super) static $document: &[&Shape] = &[$(&$name),*];
    };
}

const RAMP_NEEDS_STEPS: &str = "has no step to end early: with all_at_once green has everything at once, and the last bake is never cut \
                               short; use the strategy canary, linear or steps";

const RAMP_WAITS: &str = "is not for a rolling shift: a batch of blue that has gone takes its time to come back, so every step bakes in full";

const ALL_VARIANTS: &str = "is for a [[threshold]]: guards and regressions look at all variants together, whose share is the same in each";

const NAMED_SHADOW: &str = "is not for a shadow: name its instances";

shapes! { CONFIG:
    ROOT "" ["data" "admin" "state" "log" "access_log" "traces" "events" "webhook" "aws" "endpoint"]
    DATA "data" [
        "listen" "workers" "expose_fleet" "expose_variant" "head_timeout" "keep_alive_timeout" "upstream_idle_timeout" "head_limit"
        "connections_per_worker" "requests_per_worker" "replay_memory" "model_window" "least_rate" "drain_timeout" "tls" "proxy_protocol"
        "trusted_proxies" "underscore_headers"
    ]
    DATA_TLS "data.tls" ["listen" "certificates" "client_ca" "client_auth"]
    DATA_CERTIFICATES "data.tls.certificates" ["cert" "key"]
    ADMIN "admin" ["listen" "allow_remote" "tls" "tokens_file" "identities"]
    ADMIN_IDENTITIES "admin.identities" ["name" "role" "dns" "uri" "sha256"]
    ADMIN_TLS "admin.tls" ["certificates" "client_ca"]
    ADMIN_CERTIFICATES "admin.tls.certificates" ["cert" "key"]
    STATE "state" ["path" "takeover_timeout" "keep_events" "keep_shifts"]
    LOG "log" ["level" "format"]
    ACCESS_LOG "access_log" ["to" "page" "pages" "sample" "sample_failures" "query" "queue"]
    TRACES "traces" ["url" "sample" "follow_parent" "service" "queue" "timeout" "ca"]
    EVENTS "events" ["file" "page" "pages"]
    WEBHOOK "webhook" ["name" "url" "secret_file" "secret_env" "key_id" "region" "bus" "source" "events" "endpoints" "timeout" "attempts" "give_up" "ca"]
    AWS "aws" ["sagemaker" "region" "account" "sign_invocations" "keys" "fleets"]
    AWS_KEYS "aws.keys" ["id" "secret_file" "secret_env"]
    AWS_FLEETS "aws.fleets" ["name" "provider"]
    AWS_PROVIDER "aws.fleets.provider" [
        "type" "command" "provision" "list" "retire" "env" "count" "timeout" "refresh" "stop_grace" "log_limit" "on_exit" "replace_after"
    ]
    AWS_PROCESS "aws.fleets.provider" ["type" "command" "env" "count" "stop_grace" "log_limit" "on_exit" "replace_after"]
    AWS_COMMAND "aws.fleets.provider" ["type" "provision" "list" "retire" "env" "count" "timeout" "refresh" "replace_after"]
    ENDPOINT "endpoint" ["name" "match" "rewrite" "upgrades" "blue" "health" "limits" "balance" "slow_start" "admission" "ejection" "failures" "rescue" "hedge" "sticky" "signals" "recording" "variant_header" "invocations" "shadow"]
    MATCH "endpoint.match" ["path_prefix" "host" "header" "model" "models"]
    HEADER "endpoint.match.header" ["name" "value"]
    BALANCE "endpoint.balance" ["header" "cookie" "prompt_prefix" "load_bound"]
    REWRITE "endpoint.rewrite" ["strip_prefix" "prefix"]
    BLUE "endpoint.blue" ["version" "instances" "variants" "provider" "protocol" "tls"]
    BLUE_PROVIDER "endpoint.blue.provider" [
        "type" "command" "provision" "list" "retire" "env" "count" "timeout" "refresh" "stop_grace" "log_limit" "on_exit" "replace_after"
        "name" "port" "resolvers" "ttl_floor" "ttl_ceiling"
    ]
    BLUE_PROCESS "endpoint.blue.provider" ["type" "command" "env" "count" "stop_grace" "log_limit" "on_exit" "replace_after"]
    BLUE_COMMAND "endpoint.blue.provider" ["type" "provision" "list" "retire" "env" "count" "timeout" "refresh" "replace_after"]
    BLUE_DNS "endpoint.blue.provider" ["type" "name" "port" "resolvers" "timeout" "ttl_floor" "ttl_ceiling"]
    BLUE_INSTANCES "endpoint.blue.instances" ["address" "weight" "max_concurrency"]
    BLUE_VARIANTS "endpoint.blue.variants" ["name" "weight" "instances"]
    BLUE_VARIANT_INSTANCES "endpoint.blue.variants.instances" ["address" "weight" "max_concurrency"]
    BLUE_TLS "endpoint.blue.tls" ["ca" "server_name" "cert" "key"]
    HEALTH "endpoint.health" ["path" "grpc" "interval" "timeout" "unhealthy_after" "healthy_after"]
    LIMITS "endpoint.limits" [
        "connect_timeout" "head_timeout" "idle_timeout" "total_timeout" "upgrade_lifetime" "on_half_close" "head_limit" "body_limit"
        "replay_limit"
    ]
    ADMISSION "endpoint.admission" ["max_concurrency" "queue" "queue_timeout" "shed_status" "blame"]
    EJECTION "endpoint.ejection" ["after" "statuses" "base_time" "longest_time" "max_share" "fleets"]
    FAILURES "endpoint.failures" ["statuses" "grpc_statuses" "in_band" "timeouts" "client_errors" "gone_clients" "body"]
    FAILURE_BODY "endpoint.failures.body" ["field" "contains" "within"]
    RESCUE "endpoint.rescue" ["on" "statuses" "grpc_statuses" "until" "retry" "budget"]
    HEDGE "endpoint.hedge" ["after" "fleets"]
    STICKY "endpoint.sticky" ["header" "cookie"]
    INVOCATIONS "endpoint.invocations" ["variant"]
    SHADOW "endpoint.shadow" ["name" "version" "instances" "protocol" "tls" "share" "max_in_flight" "body_limit"] => refused [
        "provider": NAMED_SHADOW,
        "variants": NAMED_SHADOW
    ]
    SHADOW_INSTANCES "endpoint.shadow.instances" ["address" "weight" "max_concurrency"]
    SHADOW_TLS "endpoint.shadow.tls" ["ca" "server_name" "cert" "key"]
}

shapes! { ENDPOINT_DOCUMENT:
    ENDPOINT_BODY "" ["name" "match" "rewrite" "upgrades" "blue" "health" "limits" "balance" "slow_start" "admission" "ejection" "failures" "rescue" "hedge" "sticky" "signals" "recording" "variant_header" "invocations" "shadow"]
}

shapes! { PLAN:
    PLAN_ROOT "" [
        "green" "strategy" "execution_timeout" "termination_wait" "drain_timeout" "ready_timeout" "no_data" "on_restart"
        "if_running" "start_after" "start_at" "allowed_hours" "false_alarm" "max_failures" "warm_up" "guard" "regression" "threshold" "external"
    ]
    GREEN "green" ["version" "instances" "variants" "provider" "protocol" "tls"]
    GREEN_PROVIDER "green.provider" [
        "type" "command" "provision" "list" "retire" "env" "count" "timeout" "refresh" "stop_grace" "log_limit" "on_exit" "replace_after"
        "name" "port" "resolvers" "ttl_floor" "ttl_ceiling"
    ]
    GREEN_PROCESS "green.provider" ["type" "command" "env" "count" "stop_grace" "log_limit" "on_exit" "replace_after"]
    GREEN_COMMAND "green.provider" ["type" "provision" "list" "retire" "env" "count" "timeout" "refresh" "replace_after"]
    GREEN_DNS "green.provider" ["type" "name" "port" "resolvers" "timeout" "ttl_floor" "ttl_ceiling"]
    GREEN_INSTANCES "green.instances" ["address" "weight" "max_concurrency"]
    GREEN_VARIANTS "green.variants" ["name" "weight" "instances"]
    GREEN_VARIANT_INSTANCES "green.variants.instances" ["address" "weight" "max_concurrency"]
    GREEN_TLS "green.tls" ["ca" "server_name" "cert" "key"]
    ANY_STRATEGY "strategy" [
        "type" "share" "step" "steps" "batch" "bake" "final_bake" "rollback_batch" "ramp_when_safe"
    ]
    ALL_AT_ONCE "strategy" ["type" "final_bake"] => refused ["ramp_when_safe": RAMP_NEEDS_STEPS]
    CANARY "strategy" ["type" "share" "bake" "final_bake" "ramp_when_safe"]
    LINEAR "strategy" ["type" "step" "bake" "final_bake" "ramp_when_safe"]
    ROLLING "strategy" ["type" "batch" "bake" "rollback_batch"] => refused ["ramp_when_safe": RAMP_WAITS]
    STEPS "strategy" ["type" "steps" "final_bake" "ramp_when_safe"]
    RAMP "strategy.ramp_when_safe" ["margin" "requests"]
    STEP "strategy.steps" ["share" "bake" "approval"]
    WARM_UP "warm_up" ["requests" "time"]
    ALLOWED_HOURS "allowed_hours" ["days" "from" "to" "zone"]
    GUARD "guard" ["name" "metric" "quantile" "below" "burst"] => refused ["variant": ALL_VARIANTS]
    REGRESSION "regression" ["name" "metric" "quantile" "tolerance" "burst"] => refused [
        "below": "a regression is bounded by blue: write tolerance, or an absolute bound in a [[guard]]",
        "variant": ALL_VARIANTS
    ]
    THRESHOLD "threshold" [
        "name" "variant" "metric" "statistic" "above" "at_least" "below" "at_most" "period" "datapoints" "missing" "low_samples"
    ]
    EXTERNAL "external" ["name" "lease" "on_expiry" "poll" "prometheus" "ignore_raised"]
    EXTERNAL_POLL "external.poll" [
        "url" "method" "every" "timeout" "datapoints" "errors" "on_error" "token_file" "token_env" "ca"
    ]
    EXTERNAL_PROMETHEUS "external.prometheus" [
        "url" "query" "above" "at_least" "below" "at_most" "missing" "every" "timeout" "datapoints" "errors" "on_error" "token_file"
        "token_env" "ca"
    ]
}

/// The shapes of a provider, by its type.
#[derive(Debug)]
pub(super) struct ProviderShapes {
    /// While the type is missing or wrong, which is the only problem then.
    pub(super) any: &'static Shape,
    pub(super) process: &'static Shape,
    pub(super) command: &'static Shape,
    pub(super) dns: &'static Shape,
}

/// The shapes of the tables in a fleet.
#[derive(Debug)]
pub(super) struct FleetParts {
    pub(super) instances: &'static Shape,
    pub(super) variants: &'static Shape,
    pub(super) variant_instances: &'static Shape,
    pub(super) provider: ProviderShapes,
    pub(super) tls: &'static Shape,
}

pub(super) static BLUE_PARTS: FleetParts = FleetParts {
    instances: &BLUE_INSTANCES,
    variants: &BLUE_VARIANTS,
    variant_instances: &BLUE_VARIANT_INSTANCES,
    provider: ProviderShapes {
        any: &BLUE_PROVIDER,
        process: &BLUE_PROCESS,
        command: &BLUE_COMMAND,
        dns: &BLUE_DNS,
    },
    tls: &BLUE_TLS,
};
pub(super) static AWS_PARTS: ProviderShapes =
    ProviderShapes { any: &AWS_PROVIDER, process: &AWS_PROCESS, command: &AWS_COMMAND, dns: &AWS_PROVIDER };
pub(super) static GREEN_PARTS: FleetParts = FleetParts {
    instances: &GREEN_INSTANCES,
    variants: &GREEN_VARIANTS,
    variant_instances: &GREEN_VARIANT_INSTANCES,
    provider: ProviderShapes {
        any: &GREEN_PROVIDER,
        process: &GREEN_PROCESS,
        command: &GREEN_COMMAND,
        dns: &GREEN_DNS,
    },
    tls: &GREEN_TLS,
};

shapes! { TOKENS:
    TOKENS_ROOT "" ["token"]
    TOKEN "token" ["name" "role" "hash" "expires"]
}

/// The path of every key of a configuration file, list indices left out, such as `endpoint.health.interval`.
///
/// `config/snapback.toml` documents each of them: under the header of its table stands a line that begins with the key's last part
/// and `=`, or it is a table and has its header there. Either may be commented out, so a test of that file strips a leading
/// `# ` from each line, keeps the last header's path, and collects header paths and `path.key` of lines that begin `key =`.
pub fn known_keys() -> Vec<String> {
    paths(CONFIG)
}

/// The path of every key of a plan file, such as `strategy.final_bake`; `config/plan.toml` documents each in the same manner.
pub fn known_plan_keys() -> Vec<String> {
    paths(PLAN)
}

fn paths(document: &[&Shape]) -> Vec<String> {
    let path = |shape: &Shape, key: &str| match shape.path {
        "" => key.to_owned(),
        table => format!("{table}.{key}"),
    };
    let mut paths: Vec<String> =
        document.iter().flat_map(|shape| shape.keys.iter().map(|key| path(shape, key))).collect();
    paths.sort();
    paths.dedup();
    paths
}
