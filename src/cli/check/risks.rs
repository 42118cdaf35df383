//! What is sound in a configuration and may surprise all the same.

use crate::{
    config::{ClientAuth, Config, EndpointSpec, HealthCheck},
    net::ListenAddress,
};

/// Something worth knowing.
pub(super) struct Risk {
    /// Of which key.
    pub(super) key: String,
    /// What can happen, and what would help.
    pub(super) text: String,
}

/// Of the whole file, the worst first.
pub(super) fn of(config: &Config) -> Vec<Risk> {
    let risk = |key: &str, text: &str| Risk { key: key.to_owned(), text: text.to_owned() };
    let mut risks = Vec::new();
    let admin = &config.admin;
    let asks = admin.tokens_file.is_some()
        || admin.tls.as_ref().is_some_and(|tls| tls.0.client_auth == ClientAuth::Required);
    if !admin.listen.ip().is_loopback() && !asks {
        risks.push(risk(
            "admin.listen",
            "whoever reaches this address may start and abort shifts: set tokens_file, or [admin.tls] with client_auth",
        ));
    }
    if !admin.listen.ip().is_loopback() && admin.tokens_file.is_some() && admin.tls.is_none() {
        risks.push(risk(
            "admin.tls",
            "tokens cross the network as they are: without TLS whoever listens has them",
        ));
    }
    let reaches_others = |address: &ListenAddress| match address {
        ListenAddress::Internet(address) => !address.ip().is_loopback(),
        ListenAddress::Unix(_) => false,
    };
    let is_plain = config.data.tls.as_ref().is_none_or(|tls| !tls.listen.is_empty());
    if is_plain && config.data.listen.iter().any(reaches_others) {
        risks.push(risk(
            "data.listen",
            "other machines reach this without TLS, so prompts and answers can be read on the way: [data.tls], unless a load balancer in front does it",
        ));
    }
    if config.state.path.is_relative() {
        risks.push(risk(
            "state.path",
            "the journal lies in the folder that `serve` is started from: started from another one, it begins anew",
        ));
    }
    risks.extend(config.endpoints.iter().flat_map(of_endpoint));
    risks
}

fn of_endpoint(spec: &EndpointSpec) -> Vec<Risk> {
    let mut risks = Vec::new();
    let mut add = |key: &str, text: &str| {
        risks.push(Risk { key: format!("endpoint {}, {key}", spec.name), text: text.to_owned() });
    };
    if spec.blue.provider.is_none() && spec.blue.instances.len() == 1 {
        add(
            "blue.instances",
            "one instance: while it restarts nobody answers, and a failed request has nowhere to be tried again",
        );
    }
    if spec.health.check == HealthCheck::Connection {
        add(
            "health",
            "a server that takes connections counts as healthy, also while it loads its model: health = { path = \"/health\" } asks it",
        );
    }
    if spec.recording == 0 {
        add("recording", "no outcomes are kept, so no plan can be replayed over this endpoint's traffic");
    }
    risks
}
