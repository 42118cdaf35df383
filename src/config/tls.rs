//! Reads the tables about TLS.

use std::path::PathBuf;

use super::{
    AdminTls, ClientAuth, ServerTls,
    document::quoted,
    endpoint::host_name,
    reader::{Placed, Table, parsed, word},
    shape::{self, Shape},
};
use crate::{
    fleet::{CertificateFiles, InstanceSpec, UpstreamTls},
    net::ListenAddress,
};

/// Each handshake looks through them; past this many a proxy is a hosting platform, which needs an index.
const MAX_CERTIFICATES: usize = 100;

const CLIENT_AUTH: [(&str, ClientAuth); 3] =
    [("none", ClientAuth::None), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];

/// `tls` of a fleet with these instances.
pub(super) fn read_upstream(table: &Table<'_>, instances: &[InstanceSpec]) -> UpstreamTls {
    let server_name = table.optional("server_name", parsed(|text| host_name(text, "model.internal")));
    if !table.has("server_name")
        && let Some(instance) =
            instances.iter().map(|instance| &instance.address).find(|address| address.host().is_none())
    {
        table.problem(
            "server_name",
            format!("is missing: {instance} has no host that a certificate could name; write for instance server_name = \"model.internal\""),
        );
    }
    let (cert, key) = (path(table, "cert"), path(table, "key"));
    match (table.has("cert"), table.has("key")) {
        (true, false) => table.problem("key", "is missing: cert needs its private key"),
        (false, true) => table.problem("cert", "is missing: key needs its certificate"),
        (true, true) | (false, false) => {}
    }
    let identity = cert.zip(key).map(|(cert, key)| CertificateFiles { cert, key });
    UpstreamTls { ca: path(table, "ca"), server_name, identity }
}

/// The addresses of `[data.tls]`.
pub(super) fn read_listens(table: &Table<'_>) -> Vec<Placed<ListenAddress>> {
    table.list("listen", "[\"0.0.0.0:8443\"]", parsed(ListenAddress::parse)).unwrap_or_default()
}

/// `[data.tls]` without its addresses.
pub(super) fn read_data(table: &Table<'_>) -> ServerTls {
    let client_ca = path(table, "client_ca");
    let client_auth = table.optional("client_auth", word(&CLIENT_AUTH));
    match (client_auth, table.has("client_ca")) {
        (Some(ClientAuth::Optional | ClientAuth::Required), false) => table.problem(
            "client_ca",
            "is missing: client_auth needs the authorities that sign clients' certificates",
        ),
        (Some(ClientAuth::None), true) => {
            table.problem("client_auth", "is \"none\", so client_ca has no use: leave one of them out");
        }
        (_, _) => {}
    }
    let default = if client_ca.is_some() { ClientAuth::Required } else { ClientAuth::None };
    ServerTls {
        certificates: certificates(table, &shape::DATA_CERTIFICATES),
        client_ca,
        client_auth: client_auth.unwrap_or(default),
    }
}

/// `[admin.tls]`
pub(super) fn read_admin(table: &Table<'_>) -> AdminTls {
    let client_ca = path(table, "client_ca");
    let client_auth = if client_ca.is_some() { ClientAuth::Required } else { ClientAuth::None };
    let certificates = certificates(table, &shape::ADMIN_CERTIFICATES);
    AdminTls(ServerTls { certificates, client_ca, client_auth })
}

fn certificates(table: &Table<'_>, shape: &'static Shape) -> Vec<CertificateFiles> {
    table.demand("certificates", "[{ cert = \"cert.pem\", key = \"key.pem\" }]");
    let tables = table.tables("certificates", shape);
    if table.has("certificates") && tables.is_empty() {
        table.problem("certificates", "has no certificate: a TLS server needs at least one");
    }
    if tables.len() > MAX_CERTIFICATES {
        let count = tables.len();
        table.problem("certificates", format!("{count} are more than the {MAX_CERTIFICATES} there can be"));
    }
    let read = |table: &Table<'_>| {
        table.demand("cert", "\"cert.pem\"");
        table.demand("key", "\"key.pem\"");
        let (cert, key) = (path(table, "cert"), path(table, "key"));
        Some(CertificateFiles { cert: cert?, key: key? })
    };
    tables.iter().filter_map(read).collect()
}

fn path(table: &Table<'_>, key: &'static str) -> Option<PathBuf> {
    let path = |text: &str| match text {
        "" => Err(format!("{} is not a path of a PEM file", quoted(text))),
        path => Ok(path.into()),
    };
    table.optional(key, parsed(path))
}
