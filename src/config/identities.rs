//! `[[admin.identities]]`: which certificates of callers may do what.

use std::collections::BTreeSet;

use super::{
    Role,
    document::quoted,
    reader::{Table, parsed, word},
    shape,
    tokens::{hash_of_hex, token_name},
};

/// Each connection is compared with all of them.
const MOST_IDENTITIES: usize = 1_000;

/// `[[admin.identities]]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentitySpec {
    /// The actor of what is done with it.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// How its certificate is known.
    pub mark: Mark,
}

/// How a certificate is known. Its subject's common name is not asked: what a name there means nobody has defined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mark {
    /// By a DNS name among its subject's alternative names.
    Dns(String),
    /// By a URI there, as SPIFFE has it.
    Uri(String),
    /// By the SHA-256 of the whole.
    Sha256([u8; 32]),
}

/// Every `[[admin.identities]]`.
pub(super) fn read(admin: &Table<'_>) -> Vec<IdentitySpec> {
    let tables = admin.tables("identities", &shape::ADMIN_IDENTITIES);
    if tables.len() > MOST_IDENTITIES {
        let count = tables.len();
        admin.problem("identities", format!("{count} are more than the {MOST_IDENTITIES} there can be"));
    }
    let mut names = BTreeSet::new();
    tables.iter().filter_map(|table| read_one(table, &mut names)).collect()
}

fn read_one(table: &Table<'_>, names: &mut BTreeSet<String>) -> Option<IdentitySpec> {
    let roles = Role::ALL.map(|role| (role.as_str(), role));
    let name = table.required("name", "\"ci\"", parsed(token_name));
    let role = table.required("role", "\"operator\"", word(&roles));
    let dns = table.optional("dns", parsed(dns_name)).map(Mark::Dns);
    let uri = table.optional("uri", parsed(uri)).map(Mark::Uri);
    let sha256 = table.optional("sha256", parsed(hash_of_hex)).map(Mark::Sha256);
    let given = ["dns", "uri", "sha256"].into_iter().filter(|key| table.has(key)).count();
    match given {
        0 => table.problem(
            "dns",
            "is missing: say how the certificate is known, by dns = \"ci.internal\", uri = \"spiffe://a/ci\" or the sha256 of its DER",
        ),
        1 => {}
        _ => table.problem("dns", "a certificate is known by one thing: keep dns, uri or sha256"),
    }
    let name = name?;
    if !names.insert(name.clone()) {
        table.problem("name", format!("there are two identities called {name:?}"));
    }
    Some(IdentitySpec { name, role: role?, mark: dns.or(uri).or(sha256)? })
}

fn dns_name(text: &str) -> Result<String, String> {
    let fits = (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if fits {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!(
            "{} is not a DNS name: write one such as \"ci.internal\", without wildcards",
            quoted(text)
        ))
    }
}

fn uri(text: &str) -> Result<String, String> {
    let fits =
        text.len() <= 2_048 && text.contains("://") && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not a URI such as \"spiffe://a/ci\"", quoted(text)))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    const TLS: &str =
        "[admin.tls]\nclient_ca = \"ca.pem\"\ncertificates = [{ cert = \"a.pem\", key = \"a.key\" }]\n";

    fn problems(identity: &str, tls: &str) -> String {
        let text = format!("[[admin.identities]]\n{identity}\n{tls}");
        parse(&text, "c.toml").err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_identity_has_a_role_and_one_mark_of_its_certificate() {
        let text =
            format!("[[admin.identities]]\nname = \"ci\"\nrole = \"operator\"\ndns = \"CI.internal\"\n{TLS}");
        let config = parse(&text, "c.toml").unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.admin.identities[0].mark, super::Mark::Dns("ci.internal".to_owned()));
        for (identity, says) in [
            ("name = \"ci\"\nrole = \"operator\"", "say how the certificate is known"),
            ("name = \"ci\"\nrole = \"operator\"\ndns = \"a\"\nuri = \"b://c\"", "keep dns, uri or sha256"),
            ("name = \"ci\"\nrole = \"root\"\ndns = \"a\"", "admin.identities[0].role"),
            ("name = \"ci\"\nrole = \"viewer\"\ndns = \"*.a\"", "without wildcards"),
            ("name = \"ci\"\nrole = \"viewer\"\nuri = \"a b\"", "is not a URI"),
            ("name = \"ci\"\nrole = \"viewer\"\nsha256 = \"12\"", "64 hexadecimal digits"),
            ("name = \"ci\"\nrole = \"viewer\"\ncn = \"a\"", "unknown key"),
        ] {
            let found = problems(identity, TLS);
            assert!(found.contains(says), "{identity}\n{found}");
        }
    }

    #[test]
    fn identities_without_authorities_that_sign_them_prove_nothing() {
        let found = problems("name = \"ci\"\nrole = \"viewer\"\ndns = \"a\"", "");
        assert!(found.contains("needs admin.tls with client_ca"), "{found}");
    }
}
