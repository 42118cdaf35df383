//! What is said of fleets with variants.

use serde_json::json;

use crate::{
    config::{EndpointSpec, PlanSpec},
    fleet::VariantWeight,
    name::EndpointName,
};

fn read(blue: serde_json::Value) -> Result<EndpointSpec, Vec<String>> {
    let document = json!({ "blue": blue, "variant_header": "x-variant" });
    let read = EndpointSpec::from_json(&EndpointName::parse("chat").unwrap(), &document);
    read.map_err(|problems| problems.to_string().lines().map(str::to_owned).collect())
}

fn problems(variants: serde_json::Value) -> Vec<String> {
    read(json!({ "version": "v1", "variants": variants })).unwrap_err()
}

#[test]
fn variants_share_out_their_fleets_instances_in_their_order() {
    let variants = json!([
        { "name": "b", "weight": 0.25, "instances": ["h:1", { "address": "h:2", "weight": 3 }] },
        { "name": "a", "instances": ["h:3"] },
    ]);
    let blue = read(json!({ "version": "v1", "variants": variants })).unwrap().blue;
    let told: Vec<_> = blue
        .parts()
        .map(|(variant, instances)| (variant.name.as_str(), variant.weight, instances.len()))
        .collect();
    assert_eq!(told, [("b", VariantWeight::from_number(0.25), 2), ("a", None, 1)]);
    let addresses: Vec<_> = blue.instances.iter().map(|instance| instance.address.as_str()).collect();
    assert_eq!(addresses, ["h:1", "h:2", "h:3"]);
}

#[test]
fn a_variants_name_and_weight_and_instances_are_checked() {
    assert_eq!(
        problems(json!([
            { "name": "-a", "weight": -1, "instances": ["h:1"] },
            { "name": "b", "weight": "1", "instances": [] },
            { "weight": 1e7 },
        ])),
        [
            "request body: blue.variants[0].name: \"-a\" is not a variant's name: use 1 to 63 letters, digits or '-', with a letter or digit at both ends",
            "request body: blue.variants[0].weight: expected a weight, which is a number from 0 to 1000000 with up to six decimals, such as 3 or 0.25, not the number -1",
            "request body: blue.variants[1].weight: expected a weight, which is a number from 0 to 1000000 with up to six decimals, such as 3 or 0.25, not the text \"1\"",
            "request body: blue.variants[1].instances: a fleet has at least one instance; write for instance [\"127.0.0.1:9001\"]",
            "request body: blue.variants[2].name: is missing; write name = \"a\"",
            "request body: blue.variants[2].weight: expected a weight, which is a number from 0 to 1000000 with up to six decimals, such as 3 or 0.25, not the number 10000000",
            "request body: blue.variants[2].instances: is missing; write instances = [\"127.0.0.1:9001\"]",
        ]
    );
}

#[test]
fn variants_have_different_names_and_instances_and_not_all_of_them_weigh_nothing() {
    assert_eq!(
        problems(json!([
            { "name": "a", "weight": 0, "instances": ["h:1"] },
            { "name": "a", "weight": 0.0, "instances": ["h:1"] },
        ])),
        [
            "request body: blue.variants[1].name: there are two variants called \"a\"",
            "request body: blue.variants[1].instances: h:1 is in the variant a already",
            "request body: blue.variants: every weight is 0, so that no variant would get a request: give one more",
        ]
    );
    assert_eq!(problems(json!([])), ["request body: blue.variants: a fleet has 1 to 10 variants, not 0"]);
    let many: Vec<_> =
        (1..12).map(|port| json!({ "name": port.to_string(), "instances": [format!("h:{port}")] })).collect();
    assert_eq!(problems(many.into()), ["request body: blue.variants: a fleet has 1 to 10 variants, not 11"]);
}

#[test]
fn a_fleet_has_variants_or_instances_or_a_provider() {
    let variants = json!([{ "name": "a", "instances": ["h:1"] }]);
    let all = json!({ "version": "v1", "variants": variants, "instances": ["h:2"], "provider": { "type": "process" } });
    assert_eq!(
        read(all).unwrap_err(),
        [
            "request body: blue.instances: each of the variants names its own: leave out either of the two",
            "request body: blue.provider: makes the instances of a whole fleet, which has no variants then: name the instances of each variant, or leave variants out",
        ]
    );
    assert_eq!(
        read(json!({ "version": "v1", "instances": ["h:2"] })).unwrap_err(),
        [
            "request body: variant_header: lets requests name a variant, and blue has none: give it variants, or leave this out"
        ]
    );
}

#[test]
fn a_threshold_looks_at_a_variant_that_green_has_and_guards_and_regressions_at_all_of_them() {
    let plan = |variant: &str| {
        json!({
            "green": { "version": "v2", "variants": [{ "name": "a", "instances": ["h:1"] }] },
            "strategy": { "type": "canary", "share": "5%", "bake": "2m", "final_bake": "5m" },
            "threshold": [{ "name": "slow", "variant": variant, "metric": "failures", "above": 1, "period": "1s" }],
        })
    };
    let read = PlanSpec::from_json(&plan("a")).unwrap();
    assert_eq!(PlanSpec::from_json(&read.to_json()).unwrap(), read);
    assert_eq!(
        PlanSpec::from_json(&plan("b")).unwrap_err().to_string(),
        "request body: threshold: \"slow\" looks at the variant b, and green has not: its variants are a"
    );
    let mut guarded = plan("a");
    guarded["guard"] = json!([{ "metric": "error_rate", "below": "1%", "variant": "a" }]);
    let refused = PlanSpec::from_json(&guarded).unwrap_err().to_string();
    assert!(refused.starts_with("request body: guard[0].variant: is for a [[threshold]]"), "{refused}");
}

#[test]
fn a_shadow_names_its_instances_and_says_what_it_gets() {
    let read = |shadow: serde_json::Value| {
        let document = json!({ "blue": { "version": "v1", "instances": ["h:1"] }, "shadow": shadow });
        EndpointSpec::from_json(&EndpointName::parse("chat").unwrap(), &document)
    };
    let spec = read(json!({ "version": "v3", "instances": ["h:2"] })).unwrap();
    let shadow = spec.shadow.clone().unwrap();
    assert_eq!((shadow.name.as_str(), shadow.share.to_string()), ("shadow", "100%".to_owned()));
    assert_eq!((shadow.max_in_flight.get(), shadow.body_limit_bytes), (64, 1 << 20));
    assert_eq!(EndpointSpec::from_json(&spec.name, &spec.to_json()).unwrap(), spec);
    let problems =
        read(json!({ "version": "v3", "provider": {}, "share": 5, "max_in_flight": 0 })).unwrap_err();
    assert_eq!(
        problems.to_string().lines().collect::<Vec<_>>(),
        [
            "request body: shadow.provider: is not for a shadow: name its instances",
            "request body: shadow.instances: is missing; write instances = [\"127.0.0.1:9001\"]",
            "request body: shadow.share: 5 has no unit: write \"5%\"",
            "request body: shadow.max_in_flight: expected a whole number from 1 to 100000, not the number 0",
        ]
    );
}
