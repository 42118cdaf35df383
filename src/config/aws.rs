//! `[aws]`: the APIs of Amazon's that the admin port speaks, and who may call them.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    AdminConfig, AwsConfig, AwsFleet, AwsKey,
    document::quoted,
    provider,
    reader::{Table, boolean, parsed},
    shape, webhooks,
};
use crate::fleet::ProviderSpec;

/// One for each person or pipeline; more are a matter for an identity service in front.
const MOST_KEYS: usize = 100;

/// As many as there are kinds of machines.
const MOST_FLEETS: usize = 100;

const DEFAULT_REGION: &str = "us-east-1";
const DEFAULT_ACCOUNT: &str = "000000000000";

pub(super) fn read(table: &Table<'_>, admin: &AdminConfig) -> Option<AwsConfig> {
    let wanted = table.optional("sagemaker", boolean);
    let region = table.optional("region", parsed(region));
    let account = table.optional("account", parsed(account));
    let signed = table.optional("sign_invocations", boolean);
    if signed == Some(true) && !table.has("keys") {
        table.problem("sign_invocations", "there is nothing to sign with: give the keys, in [[aws.keys]]");
    }
    let (keys, fleets) = (read_keys(table), read_fleets(table));
    let asks_who = admin.tls.as_ref().is_some_and(|tls| tls.0.client_ca.is_some());
    let is_guarded = admin.listen.ip().is_loopback() || asks_who || table.has("keys");
    if wanted == Some(true) && !is_guarded {
        table.problem(
            "sagemaker",
            format!(
                "admin.listen {} can be reached from other machines, so whoever calls the SageMaker API must sign: give the keys, in \
                 [[aws.keys]], or ask for client certificates (admin.tls with client_ca)",
                admin.listen
            ),
        );
    }
    Some(AwsConfig {
        sagemaker: wanted.unwrap_or(is_guarded),
        region: region.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        account: account.unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned()),
        sign_invocations: signed.unwrap_or(false),
        keys: keys?,
        fleets: fleets?,
    })
}

fn read_keys(table: &Table<'_>) -> Option<Vec<AwsKey>> {
    let tables = table.tables("keys", &shape::AWS_KEYS);
    if tables.len() > MOST_KEYS {
        table.problem("keys", format!("{} are more than the {MOST_KEYS} there can be", tables.len()));
    }
    let keys = tables.iter().map(|table| {
        let id = table.required("id", "\"AKIAOPERATOR\"", parsed(key_id));
        let secret = webhooks::read_secret(table, "requests are signed with it");
        Some(AwsKey { id: id?, secret: secret? })
    });
    let keys: Vec<Option<AwsKey>> = keys.collect();
    let mut ids = BTreeSet::new();
    for (table, key) in tables.iter().zip(&keys) {
        if let Some(key) = key
            && !ids.insert(&key.id)
        {
            table.problem("id", format!("there are two keys called {:?}", key.id));
        }
    }
    keys.into_iter().collect()
}

fn read_fleets(table: &Table<'_>) -> Option<Vec<AwsFleet>> {
    let tables = table.tables("fleets", &shape::AWS_FLEETS);
    if tables.len() > MOST_FLEETS {
        table.problem("fleets", format!("{} are more than the {MOST_FLEETS} there can be", tables.len()));
    }
    let fleets = tables.iter().map(|table| {
        let name = table.required("name", "\"cluster\"", parsed(fleet_name));
        table.demand("provider", "{ type = \"process\", command = [\"serve\", \"{port}\"] }");
        let provider = provider::read(table, &shape::AWS_PARTS);
        if matches!(provider, Some(ProviderSpec::Dns(_))) {
            table.problem("provider", "a name's instances are somebody else's and serve no model that a client names: write \"process\" or \"command\"");
        }
        Some(AwsFleet { name: name?, provider: Arc::new(provider?) })
    });
    let fleets: Vec<Option<AwsFleet>> = fleets.collect();
    let mut names = BTreeSet::new();
    for (table, fleet) in tables.iter().zip(&fleets) {
        if let Some(fleet) = fleet
            && !names.insert(&fleet.name)
        {
            table.problem("name", format!("there are two fleets called {:?}", fleet.name));
        }
    }
    fleets.into_iter().collect()
}

/// What is configured, key by key, in a line each. A secret is named by where it is.
pub(super) fn describe(config: &AwsConfig) -> Vec<(&'static str, String)> {
    let AwsConfig { sagemaker, region, account, sign_invocations, keys, fleets } = config;
    let keys: Vec<_> = keys.iter().map(|AwsKey { id, secret }| format!("{id} with {secret:?}")).collect();
    let fleets =
        fleets.iter().map(|AwsFleet { name, provider: spec }| format!("{name}: {}", provider::render(spec)));
    let fleets: Vec<_> = fleets.collect();
    let or_nothing = |all: Vec<String>| if all.is_empty() { "nothing".to_owned() } else { all.join("; ") };
    vec![
        ("aws.sagemaker", sagemaker.to_string()),
        ("aws.region", format!("{region:?}")),
        ("aws.account", format!("{account:?}")),
        ("aws.sign_invocations", sign_invocations.to_string()),
        ("aws.keys", or_nothing(keys)),
        ("aws.fleets", or_nothing(fleets)),
    ]
}

fn region(text: &str) -> Result<String, String> {
    let fits = (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not a region: write one such as \"eu-central-1\"", quoted(text)))
    }
}

fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not an account: write twelve digits", quoted(text)))
    }
}

fn key_id(text: &str) -> Result<String, String> {
    let fits = (3..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not a key's id: use 3 to 128 letters, digits or any of _ - .", quoted(text)))
    }
}

fn fleet_name(text: &str) -> Result<String, String> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not a fleet's name: use 1 to 63 letters, digits, _ or -", quoted(text)))
    }
}

#[cfg(test)]
mod tests {
    use crate::{alarm::Token, config::parse};

    fn problems(text: &str) -> String {
        parse(text, "f").unwrap_err().to_string()
    }

    #[test]
    fn without_keys_only_this_machine_may_call_the_api() {
        assert!(parse("", "f").unwrap().aws.sagemaker);
        let remote = "[admin]\nlisten = \"0.0.0.0:9090\"\nallow_remote = true\n";
        assert!(!parse(remote, "f").unwrap().aws.sagemaker);
        let keys = format!("{remote}[[aws.keys]]\nid = \"AKIAX\"\nsecret_env = \"SECRET\"\n");
        let aws = parse(&keys, "f").unwrap().aws;
        assert!(aws.sagemaker);
        assert_eq!(
            (aws.keys[0].id.as_str(), &aws.keys[0].secret),
            ("AKIAX", &Token::Environment("SECRET".to_owned()))
        );
        let unsigned = problems(&format!("{remote}[aws]\nsagemaker = true\n"));
        assert!(unsigned.contains("aws.sagemaker") && unsigned.contains("must sign"), "{unsigned}");
        assert!(!parse("[aws]\nsagemaker = false\n", "f").unwrap().aws.sagemaker);
    }

    #[test]
    fn what_is_no_region_account_key_or_fleet_is_told_what_would_be_one() {
        let cases = [
            ("[aws]\nregion = \"Mars\"\n", "aws.region: \"Mars\" is not a region"),
            ("[aws]\naccount = \"1\"\n", "write twelve digits"),
            ("[[aws.keys]]\nid = \"a b\"\nsecret_env = \"S\"\n", "is not a key's id"),
            ("[[aws.keys]]\nid = \"AKIAX\"\n", "requests are signed with it"),
            ("[aws]\nsign_invocations = true\n", "there is nothing to sign with"),
            ("[[aws.fleets]]\nname = \"c\"\n", "aws.fleets[0].provider"),
            (
                "[[aws.fleets]]\nname = \"c\"\nprovider = { type = \"process\", command = [\"x\"], provision = [\"y\"] }\n",
                "provision",
            ),
        ];
        for (text, wanted) in cases {
            let found = problems(text);
            assert!(found.contains(wanted), "{wanted}: {found}");
        }
        let fleet = "[[aws.fleets]]\nname = \"c\"\nprovider = { type = \"process\", command = [\"x\", \"{port}\"] }\n";
        assert_eq!(parse(fleet, "f").unwrap().aws.fleets[0].name, "c");
        assert!(problems(&format!("{fleet}{fleet}")).contains("two fleets called \"c\""));
    }

    #[test]
    fn a_changed_key_takes_effect_at_the_next_start() {
        let old = parse("", "f").unwrap();
        let new = parse("[aws]\nregion = \"eu-west-1\"\n", "f").unwrap();
        let lines = old.restart_needed(&new);
        assert_eq!(
            lines,
            ["aws.region = \"eu-west-1\" takes effect at the next start; until then it is \"us-east-1\""]
        );
    }
}
