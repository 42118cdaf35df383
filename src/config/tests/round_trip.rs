//! What is written reads back to an equal value.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use proptest::{option, prelude::*, sample::select};

use super::any_plan::plan;
use crate::{
    config::{
        EndpointSpec, HealthCheck, HealthSpec, PlanSpec, ShadowSpec, document::Value, format_fraction,
        format_quantile, format_size, units,
    },
    fleet::{
        Address, CertificateFiles, CommandSpec, DnsSpec, EjectionRule, FleetSpec, InstanceSpec, OnExit,
        ProcessSpec, Protocol, ProviderSpec, UpstreamTls, VariantSpec, VariantWeight, Weight,
    },
    meter::GrpcStatus,
    name::{EndpointName, VariantName, Version},
    route::{
        Admission, Balance, Blame, BodySign, EjectingFleets, Ejection, FailureBody, FailureClasses,
        GrpcStatuses, HalfClose, HashKey, HedgePolicy, HedgedFleets, HostPattern, Invocations, Limits,
        MatchRule, Protection, Replayed, RescuePolicy, RescueUntil, Rewrite, ShedStatus, Signals, Statuses,
        Sticky, Upgrades, normalise,
    },
    weight::Share,
};

prop_compose! {
    fn upstream_tls()(
        ca in option::of("/?[a-zA-Z0-9 ./_-]{1,30}"),
        server_name in option::of("[a-z0-9-]{1,9}(\\.[a-z]{1,9}){0,3}|127\\.0\\.0\\.1|::1"),
        identity in option::of(("[a-z./]{1,30}", "[a-z./]{1,30}")),
    ) -> UpstreamTls {
        let identity = identity.map(|(cert, key)| CertificateFiles { cert: cert.into(), key: key.into() });
        UpstreamTls { ca: ca.map(Into::into), server_name, identity }
    }
}

prop_compose! {
    fn provider()(
        command in prop::collection::vec("[ -~]{1,20}", 0..4),
        env in prop::collection::btree_map("[A-RT-Z][A-Z_]{0,9}", "[ -~]{0,20}", 0..3),
        count in 0_u32..=1024,
        stop_grace in span(),
        log_limit_bytes in (4_u64 << 10)..=(1 << 30),
        keeps in any::<bool>(),
        is_command in any::<bool>(),
        named in option::of((1_u16.., prop::collection::vec((any::<[u8; 4]>(), 1_u16..), 0..3))),
        (timeout, refresh, replace_after) in (span(), span(), span()),
    ) -> ProviderSpec {
        if let Some((port, resolvers)) = named {
            return ProviderSpec::Dns(DnsSpec {
                name: "models.internal".to_owned(),
                port,
                resolvers: resolvers.into_iter().map(SocketAddr::from).collect(),
                timeout,
                ttl_floor: refresh,
                ttl_ceiling: refresh + replace_after,
            });
        }
        if is_command {
            return ProviderSpec::Command(CommandSpec {
                provision: vec!["provision".to_owned()],
                list: [String::from("list")].into_iter().chain(command).collect(),
                retire: vec!["retire".to_owned()],
                env,
                count: NonZeroU32::new(count),
                timeout,
                refresh,
                replace_after,
            });
        }
        ProviderSpec::Process(ProcessSpec {
            command: [String::from("serve-{port}")].into_iter().chain(command).collect(),
            env,
            count: NonZeroU32::new(count),
            stop_grace,
            log_limit_bytes,
            on_exit: if keeps { OnExit::Keep } else { OnExit::End },
            replace_after,
        })
    }
}

prop_compose! {
    pub(super) fn fleet()(
        version in "[a-zA-Z0-9._:/@+-]{1,128}",
        ports in prop::collection::btree_map(1_u16.., 1_u16..=1000, 1..5),
        tls in option::of(upstream_tls()),
        is_http2 in any::<bool>(),
        weights in prop::collection::vec(option::of(0_u32..5_000_000), 0..4),
        provider in option::of(provider()),
    ) -> FleetSpec {
        let instance = |(port, weight)| InstanceSpec {
            address: Address::parse(&format!("model-a:{port}")).unwrap(),
            // Half of them plain.
            weight: Weight::new(if weight > 500 { 1 } else { weight }).unwrap(),
            max_concurrency: NonZeroU32::new(u32::from(weight) % 3),
        };
        let instances: Vec<_> = ports.into_iter().filter(|_| provider.is_none()).map(instance).collect();
        // Each variant has an instance, the last one those that are left, and at least one of them gets something.
        let count = weights.len().min(instances.len());
        let variant = |(place, weight): (usize, Option<u32>)| VariantSpec {
            name: VariantName::parse(&format!("v-{place}")).unwrap(),
            weight: weight
                .filter(|_| place > 0)
                .and_then(|millionths| VariantWeight::from_number(f64::from(millionths) / 1e6)),
            instances: if place + 1 == count { instances.len() - place } else { 1 },
        };
        let variants = weights.into_iter().take(count).enumerate().map(variant).collect();
        FleetSpec {
            version: Version::parse(&version).unwrap(),
            instances,
            variants,
            provider: provider.map(Arc::new),
            protocol: match (is_http2, &tls) {
                (false, _) => Protocol::Http1,
                (true, None) => Protocol::H2c,
                (true, Some(_)) => Protocol::H2,
            },
            tls: tls.map(Arc::new),
        }
    }
}

pub(super) fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1_u64..1_000_000_000_000).prop_map(Duration::from_nanos),
        (1_u64..100_000).prop_map(Duration::from_millis),
        (1_u64..10_000).prop_map(Duration::from_secs),
    ]
}

pub(super) fn share(range: std::ops::RangeInclusive<u16>) -> impl Strategy<Value = Share> {
    range.prop_map(|points| Share::from_basis_points(points).unwrap())
}

fn host() -> impl Strategy<Value = HostPattern> {
    prop_oneof![
        "[a-z0-9-]{1,9}(\\.[a-z0-9_]{1,9}){0,3}".prop_map(HostPattern::Exact),
        "(\\.[a-z0-9-]{1,9}){1,3}".prop_map(HostPattern::Suffix),
        Just(HostPattern::Exact("[::1]".to_owned())),
    ]
}

prop_compose! {
    fn rule()(
        host in option::of(host()),
        path_prefix in option::of("/[a-zA-Z0-9/%._~!$&'()*+,;=:@-]{0,30}".prop_filter("paths in their normalised form", |path| {
            normalise(path).is_ok_and(|normal| normal == *path)
        })),
        models in prop::collection::btree_set("[a-zA-Z0-9/._:-]{1,30}", 0..4),
        header in option::of(("[a-z0-9-]{1,20}", "([!-~]([ -~]{0,20}[!-~])?)?")),
    ) -> MatchRule {
        let header = header.map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(&value).unwrap())
        });
        MatchRule { host, path_prefix, header, models: models.into_iter().collect() }
    }
}

prop_compose! {
    fn health()(
        check in prop_oneof![
            Just(HealthCheck::Connection),
            "/[a-z0-9/._-]{0,30}".prop_map(HealthCheck::Get),
            "[a-zA-Z0-9._]{0,30}".prop_map(HealthCheck::Grpc),
        ],
        interval in span(),
        timeout in span(),
        unhealthy_after in 1_u32..=1000,
        healthy_after in 1_u32..=1000,
    ) -> HealthSpec {
        HealthSpec { check, interval, timeout, unhealthy_after, healthy_after }
    }
}

prop_compose! {
    fn limits()(
        connect_timeout in span(),
        head_timeout in span(),
        idle_timeout in span(),
        total_timeout in option::of(span()),
        upgrade_lifetime in option::of(span()),
        on_half_close in prop_oneof![Just(HalfClose::Cancel), Just(HalfClose::Serve)],
        head_limit_bytes in option::of(1_usize << 10..=1 << 20),
        body_limit_bytes in 1_u64..1 << 40,
        replay_limit_bytes in 0_usize..1 << 30,
    ) -> Limits {
        Limits {
            connect_timeout,
            head_timeout,
            idle_timeout,
            total_timeout,
            upgrade_lifetime,
            on_half_close,
            head_limit_bytes,
            body_limit_bytes,
            replay_limit_bytes,
        }
    }
}

fn replayed() -> impl Strategy<Value = Replayed> {
    prop_oneof![Just(Replayed::Never), Just(Replayed::ConnectFailures), Just(Replayed::BeforeFirstByte)]
}

prop_compose! {
    fn rescue()(
        on in replayed(),
        statuses in prop::collection::vec(400_u16..=599, 0..6),
        grpc_codes in prop::collection::vec(1_usize..17, 0..6),
        until in prop_oneof![Just(RescueUntil::Head), Just(RescueUntil::FirstToken)],
        retry in replayed(),
        hedge in option::of((span(), select(vec![HedgedFleets::Blue, HedgedFleets::Both]))),
        budget in share(0..=10_000),
    ) -> RescuePolicy {
        let statuses = Statuses::of(statuses);
        let grpc_statuses = GrpcStatuses::of(grpc_codes.into_iter().map(|code| GrpcStatus::ALL[code]));
        let hedge = hedge.map(|(after, fleets)| HedgePolicy { after, fleets });
        RescuePolicy { on, statuses, grpc_statuses, until, retry, hedge, budget }
    }
}

fn sticky() -> impl Strategy<Value = Sticky> {
    prop_oneof![
        "x-[a-z]{1,20}".prop_map(|name| Sticky::Header(name.parse().unwrap())),
        "[a-zA-Z0-9_-]{1,20}".prop_map(Sticky::Cookie),
    ]
}

fn balance() -> impl Strategy<Value = Balance> {
    let key = prop_oneof![
        sticky().prop_map(HashKey::Session),
        (1_usize..=65_536).prop_map(|bytes| HashKey::PromptPrefix { bytes }),
    ];
    prop_oneof![
        select(vec![Balance::LeastOfTwo, Balance::RoundRobin, Balance::Random]),
        (key, 101_u16..=1000).prop_map(|(key, bound_percent)| Balance::Hash { key, bound_percent }),
    ]
}

prop_compose! {
    fn admission()(
        max_concurrency in 0_u32..=1_000_000,
        queue in 0_usize..=100_000,
        queue_timeout in span(),
        shed_status in select(vec![ShedStatus::ServiceUnavailable, ShedStatus::TooManyRequests]),
        blame in select(vec![Blame::Nobody, Blame::Fleet]),
    ) -> Admission {
        let max_concurrency = NonZeroU32::new(max_concurrency);
        Admission { max_concurrency, queue, queue_timeout, shed_status, blame }
    }
}

prop_compose! {
    fn protection()(
        after in 0_u32..=1000,
        statuses in prop::collection::vec(500_u16..=599, 0..6),
        (base_time, longest_time) in (span(), span()),
        max_share in share(0..=10_000),
        fleets in select(vec![EjectingFleets::Blue, EjectingFleets::Both]),
        admission in admission(),
        slow_start in prop_oneof![Just(Duration::ZERO), span()],
    ) -> Protection {
        let statuses = Statuses::of(statuses);
        let (base_time, longest_time) = (base_time.min(longest_time), longest_time.max(base_time));
        let rule = EjectionRule { after, base_time, longest_time, max_share };
        Protection { ejection: Ejection { rule, statuses, fleets }, admission, slow_start }
    }
}

prop_compose! {
    fn failures()(
        statuses in prop::collection::vec(400_u16..=599, 0..6),
        range in (400_u16..=599, 0_u16..50),
        grpc_codes in prop::collection::vec(1_usize..17, 0..6),
        in_band in any::<bool>(),
        timeouts in any::<bool>(),
        client_errors in any::<bool>(),
        gone_clients in any::<bool>(),
        body in option::of((any::<bool>(), "[ -~]{1,64}", 1_usize..=64 << 10)),
    ) -> FailureClasses {
        let body = body.map(|(is_field, text, within_bytes)| {
            let sign = if is_field { BodySign::Field(text) } else { BodySign::Contains(text) };
            Arc::new(FailureBody { sign, within_bytes })
        });
        let (first, length) = range;
        let statuses = Statuses::of(statuses.into_iter().chain(first..=first + length));
        let grpc_statuses = GrpcStatuses::of(grpc_codes.into_iter().map(|code| GrpcStatus::ALL[code]));
        FailureClasses { statuses, grpc_statuses, in_band, timeouts, client_errors, gone_clients, body }
    }
}

// Boxed, because all that an endpoint has is larger than a test's stack.
prop_compose! {
    fn endpoint()(
        name in "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?",
        rule in rule().boxed(),
        blue in fleet().boxed(),
        health in health().boxed(),
        limits in limits().boxed(),
        failures in failures().boxed(),
        rescue in rescue().boxed(),
        sticky in option::of(sticky()).boxed(),
        balance in balance().boxed(),
        protection in protection().boxed(),
        upgrades in prop::collection::btree_set("[a-z]{3,6}(/[0-9])?", 0..3),
        (signals, recording) in (prop_oneof![Just(Signals::Auto), Just(Signals::Grpc), Just(Signals::Off)], 0_usize..=1_000_000),
        header in option::of("x-[a-z]{1,9}"),
        (shadow, shadow_share) in (option::of(fleet().boxed()), share(0..=10_000)),
        rewrite in option::of(("(/[a-z0-9]{1,5}){0,2}", "(/[a-z0-9]{1,5}){0,2}")),
    ) -> EndpointSpec {
        let upgrades = Upgrades::new(upgrades.iter().map(|token| token.as_str()).filter(|token| Upgrades::check(token).is_ok())).unwrap();
        let rewrite = rewrite.map(|(strip, prefix)| Rewrite::new(&strip, &prefix));
        let mut blue = blue;
        if let (HealthCheck::Grpc(_), Protocol::Http1) = (&health.check, blue.protocol) {
            blue.protocol = if blue.tls.is_some() { Protocol::H2 } else { Protocol::H2c };
        }
        // What is rescued counts as a failure.
        let failures = FailureClasses {
            statuses: Statuses::of(failures.statuses.iter().chain(rescue.statuses.iter())),
            grpc_statuses: GrpcStatuses::of(failures.grpc_statuses.iter().chain(rescue.grpc_statuses.iter())),
            ..failures
        };
        let variant_header = header.filter(|_| !blue.variants.is_empty()).map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap());
        let shadow = shadow.filter(|fleet| fleet.variants.is_empty() && fleet.provider.is_none()).map(|fleet| ShadowSpec {
            name: VariantName::parse("dark").unwrap(), fleet, share: shadow_share, max_in_flight: NonZeroUsize::MIN, body_limit_bytes: recording,
        });
        let invocations = (recording % 2 == 1 && blue.variants.is_empty()).then(|| Invocations { variant: VariantName::parse("AllTraffic").unwrap() });
        EndpointSpec { name: EndpointName::parse(&name).unwrap(), rule, blue, health, limits, failures, rescue, sticky, balance, protection, rewrite, upgrades, signals, recording, variant_header, invocations, shadow }
    }
}

proptest! {
    #[test]
    fn an_endpoint_reads_back_from_the_json_it_writes(spec in endpoint()) {
        let written = spec.to_json();
        prop_assert_eq!(EndpointSpec::from_json(&spec.name, &written), Ok(spec), "{}", written);
    }

    #[test]
    fn a_plan_reads_back_from_the_json_it_writes(spec in plan()) {
        let written = spec.to_json();
        prop_assert_eq!(PlanSpec::from_json(&written), Ok(spec), "{}", written);
    }

    #[test]
    fn a_fraction_reads_back_to_the_very_same_float(fraction in 1e-12..1.0) {
        prop_assert_eq!(units::fraction(&Value::Text(format_fraction(fraction))), Ok(fraction));
        prop_assert_eq!(units::quantile(&Value::Text(format_quantile(fraction))), Ok(fraction));
    }

    #[test]
    fn a_size_reads_back(bytes in any::<u64>()) {
        prop_assert_eq!(units::size(0, u64::MAX)(&Value::Text(format_size(bytes))), Ok(bytes));
    }

    #[test]
    fn no_document_makes_the_reader_panic(document in any_json()) {
        let name = EndpointName::parse("chat").unwrap();
        for problems in [PlanSpec::from_json(&document).err(), EndpointSpec::from_json(&name, &document).err()] {
            prop_assert!(problems.is_none_or(|problems| !problems.problems.is_empty()));
        }
    }
}

/// Documents that hold known keys in wrong places and with wrong values.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let keys = [crate::config::known_keys(), crate::config::known_plan_keys()].concat();
    let last = |path: &String| path.rsplit('.').next().unwrap().to_owned();
    let mut words: Vec<String> = keys.iter().map(last).collect();
    words.extend(["linear", "steps", "canary", "5%", "p99", "1s", "1MiB", "ü", ""].map(str::to_owned));
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        select(words.clone()).prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((select(words.clone()), inner), 0..8)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn familiar_fractions_are_written_as_people_write_them() {
    for (fraction, text) in [(0.01, "1%"), (0.001, "0.1%"), (0.0005, "0.05%"), (0.25, "25%"), (0.1, "10%")] {
        assert_eq!(format_fraction(fraction), text);
    }
    for (quantile, text) in [(0.99, "p99"), (0.999, "p99.9"), (0.5, "p50"), (0.01, "p1")] {
        assert_eq!(format_quantile(quantile), text);
    }
    for (bytes, text) in [(0, "0B"), (1 << 20, "1MiB"), (1500, "1500B"), (65_536, "64KiB"), (3 << 30, "3GiB")]
    {
        assert_eq!(format_size(bytes), text);
    }
}
