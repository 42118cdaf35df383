//! The regular expressions of Amazon's service models, as functions. They are few and short, and some look ahead, which the linear-time
//! engines of this language do not: functions are less to trust than an engine that does.

/// An expression and what it takes.
#[derive(Debug)]
pub(in crate::admin) struct Pattern {
    /// As the service model has it; stands in messages.
    pub(in crate::admin) text: &'static str,
    /// Whether a whole text fits.
    pub(in crate::admin) fits: fn(&str) -> bool,
}

/// Names of endpoints, their configurations and their variants.
pub(in crate::admin) static NAME: Pattern =
    Pattern { text: "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", fits: is_name };

/// Names of models: two dashes may be last nowhere, as in the others.
pub(in crate::admin) static MODEL_NAME: Pattern =
    Pattern { text: "[a-zA-Z0-9]([\\-a-zA-Z0-9]*[a-zA-Z0-9])?", fits: is_name };

/// A part of a name.
pub(in crate::admin) static NAME_PART: Pattern =
    Pattern { text: "[a-zA-Z0-9-]+", fits: |text| !text.is_empty() && text.bytes().all(is_of_name) };

/// Names of alarms.
pub(in crate::admin) static ALARM_NAME: Pattern = Pattern {
    text: "(?!\\s*$).+",
    fits: |text| text.contains(|sign: char| !sign.is_whitespace()) && !text.contains('\n'),
};

/// Where metrics of a kind are.
pub(in crate::admin) static NAMESPACE: Pattern =
    Pattern { text: "[^:].*", fits: |text| !text.starts_with(':') && !text.contains('\n') };

/// Without white space.
pub(in crate::admin) static NO_SPACE: Pattern =
    Pattern { text: "[\\S]+", fits: |text| !text.is_empty() && !text.contains(char::is_whitespace) };

/// A place in a store or on the web.
pub(in crate::admin) static URL: Pattern = Pattern { text: "(https|s3)://([^/]+)/?(.*)", fits: is_url };

/// Where something is put, as the model writes it. Meant is what [`URL`] says.
pub(in crate::admin) static DESTINATION: Pattern =
    Pattern { text: "(https|s3)://([^/])/?(.*)", fits: is_url };

/// A part of a network.
pub(in crate::admin) static NETWORK_ID: Pattern =
    Pattern { text: "[-0-9a-zA-Z]+", fits: |text| is_of(text, b"-") };

/// A variable's name.
pub(in crate::admin) static VARIABLE: Pattern = Pattern {
    text: "[a-zA-Z_][a-zA-Z0-9_]*",
    fits: |text| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !text.starts_with(|sign: char| sign.is_ascii_digit())
            && !text.is_empty()
    },
};

/// Printable text of tags: letters, spaces, digits and a few signs.
pub(in crate::admin) static TAG: Pattern = Pattern {
    text: "([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)",
    fits: |text| text.chars().all(|sign| sign.is_alphanumeric() || " _.:/=+-@".contains(sign)),
};

/// The name of a resource of SageMaker.
pub(in crate::admin) static SAGEMAKER_ARN: Pattern = Pattern {
    text: "arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:[0-9]{12}:.+",
    fits: |text| resource_of(text, "sagemaker").is_some_and(|rest| !rest.is_empty() && !rest.contains('\n')),
};

/// A reserved capacity.
pub(in crate::admin) static RESERVATION_ARN: Pattern = Pattern {
    text: "arn:aws[a-z\\-]*:sagemaker:[a-z0-9\\-]*:[0-9]{12}:[a-z0-9\\-]{1,14}/.*",
    fits: |text| {
        let kind = resource_of(text, "sagemaker").and_then(|rest| rest.split_once('/'));
        kind.is_some_and(|(kind, _)| {
            (1..=14).contains(&kind.len())
                && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
    },
};

/// A topic for notifications.
pub(in crate::admin) static TOPIC_ARN: Pattern = Pattern {
    text: "arn:aws[a-z\\-]*:sns:[a-z0-9\\-]*:[0-9]{12}:[a-zA-Z0-9_.-]+",
    fits: |text| resource_of(text, "sns").is_some_and(|topic| is_of(topic, b"_.-")),
};

/// A key.
pub(in crate::admin) static KMS_KEY: Pattern =
    Pattern { text: "[a-zA-Z0-9:/_-]*", fits: |text| text.is_empty() || is_of(text, b":/_-") };

/// Where a model's files are mounted.
pub(in crate::admin) static CHANNEL: Pattern =
    Pattern { text: "[A-Za-z0-9\\.\\-_]+", fits: |text| is_of(text, b".-_") };

/// Where a container tells its metrics.
pub(in crate::admin) static METRICS_PATH: Pattern = Pattern {
    text: "/(?!.*\\.\\.)[a-zA-Z0-9/_.\\-]+",
    fits: |text| text.strip_prefix('/').is_some_and(|rest| is_of(rest, b"/_.-") && !rest.contains("..")),
};

/// A model's package, by its name or its ARN, and which version of it.
pub(in crate::admin) static MODEL_PACKAGE: Pattern = Pattern {
    text: "(arn:aws[a-z\\-]*:sagemaker:[a-z0-9\\-]*:[0-9]{12}:[a-z\\-]*\\/)?([a-zA-Z0-9]([a-zA-Z0-9-]){0,62})(?<!-)(\\/[0-9]{1,9})?",
    fits: is_model_package,
};

/// A part of an accelerator.
pub(in crate::admin) static PARTITION: Pattern =
    Pattern { text: "mig-[0-9]+g\\.[0-9]+gb([+-][a-z0-9.]+)*", fits: is_partition };

/// A media type.
pub(in crate::admin) static MEDIA_TYPE: Pattern = Pattern {
    text: "[a-zA-Z0-9](-*[a-zA-Z0-9])*\\/[a-zA-Z0-9](-*[a-zA-Z0-9.])*",
    fits: |text| {
        let is_subtype = |text: &str| {
            is_of(text, b"-.")
                && text.starts_with(|sign: char| sign.is_ascii_alphanumeric())
                && !text.ends_with('-')
        };
        text.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_subtype(subtype))
    },
};

/// A role's name.
pub(in crate::admin) static ROLE: Pattern =
    Pattern { text: "arn:aws[a-z\\-]*:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+", fits: is_role };

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_of_name) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("s3://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains('\n'))
}

/// One or more letters, digits or any of these.
fn is_of(text: &str, others: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What follows `arn:aws...:SERVICE:REGION:ACCOUNT:`.
fn resource_of<'a>(text: &'a str, service: &str) -> Option<&'a str> {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next();
    let (arn, partition, found, region, account, rest) =
        (next()?, next()?, next()?, next()?, next()?, next()?);
    let suffix = partition.strip_prefix("aws")?;
    let fits = arn == "arn"
        && suffix.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && found == service
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && account.len() == 12
        && is_digits(account);
    fits.then_some(rest)
}

fn is_role(text: &str) -> bool {
    let role = resource_of(text, "iam").and_then(|rest| rest.strip_prefix("role"));
    role.is_some_and(|path| is_of(path.strip_prefix('/').unwrap_or(path), b"_+=,.@-/"))
}

fn is_model_package(text: &str) -> bool {
    let named = match resource_of(text, "sagemaker") {
        Some(rest) => match rest.split_once('/') {
            Some((kind, rest)) if kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') => rest,
            Some(_) | None => return false,
        },
        None => text,
    };
    let (name, version) =
        named.split_once('/').map_or((named, None), |(name, version)| (name, Some(version)));
    is_name(name)
        && name.len() <= 63
        && version.is_none_or(|version| is_digits(version) && version.len() <= 9)
}

fn is_partition(text: &str) -> bool {
    let Some((slices, rest)) = text.strip_prefix("mig-").and_then(|rest| rest.split_once("g.")) else {
        return false;
    };
    let Some((gigabytes, features)) = rest.split_once("gb") else { return false };
    let is_feature = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.')
    };
    let mut features = features.split(['+', '-']);
    is_digits(slices) && is_digits(gigabytes) && features.next() == Some("") && features.all(is_feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_what_the_expressions_take() {
        let cases: [(&Pattern, &[&str], &[&str]); 13] = [
            (&NAME, &["a", "a-b", "a--b", "A1"], &["", "-a", "a-", "a b", "a!", "\u{fc}", "a\n"]),
            (&NAME_PART, &["-", "a-"], &["", "a b"]),
            (&ALARM_NAME, &[" a ", "p99 > 1%"], &["", "  ", "a\nb"]),
            (&URL, &["s3://b/k", "https://h"], &["s3:///k", "http://h/", "s3://"]),
            (&VARIABLE, &["_A1"], &["", "1A", "A-B"]),
            (&TAG, &["", "team: a/b \u{fc}"], &["a\u{0}b", "a;b"]),
            (
                &ROLE,
                &["arn:aws:iam::123456789012:role/x", "arn:aws-cn:iam::123456789012:role/a/b"],
                &["arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:user/x", "x"],
            ),
            (
                &SAGEMAKER_ARN,
                &["arn:aws:sagemaker:eu-west-1:123456789012:endpoint/a"],
                &[
                    "arn:aws:sagemaker:eu-west-1:123456789012:",
                    "arn:aws:s3:eu-west-1:123456789012:endpoint/a",
                    "arn:aws",
                ],
            ),
            (
                &MODEL_PACKAGE,
                &["a-b/3", "a", "arn:aws:sagemaker:r:123456789012:model-package/a/1"],
                &["a-", "a/b", "a/"],
            ),
            (
                &PARTITION,
                &["mig-1g.5gb", "mig-1g.5gb+me.all-x"],
                &["mig-1g.5gbx", "mig-g.5gb", "mig-1g.5gb+"],
            ),
            (&MEDIA_TYPE, &["text/csv", "application/x-a.b"], &["text", "text/", "text/-a", "a/b-"]),
            (&METRICS_PATH, &["/metrics/a.b"], &["/", "metrics", "/a/../b"]),
            (&TOPIC_ARN, &["arn:aws:sns:r:123456789012:t_1"], &["arn:aws:sns:r:123456789012:"]),
        ];
        for (pattern, good, bad) in cases {
            for text in good {
                assert!((pattern.fits)(text), "{} takes {text:?}", pattern.text);
            }
            for text in bad {
                assert!(!(pattern.fits)(text), "{} takes no {text:?}", pattern.text);
            }
        }
    }
}
