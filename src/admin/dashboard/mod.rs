//! The dashboard: a page and what it loads, embedded in the binary. Nothing of it comes from elsewhere.
//!
//! Its sources are in `ui`: Preact with its signals, which are 8 kB compressed together and need no step of their own, in TypeScript; a parser of
//! TOML, so that a plan can be written as its files are; charts drawn as SVG by a few hundred lines of our own, because they follow the page's
//! colours, can be read by assistive technology and by tests, and draw no more than 300 points. esbuild puts it together: one program, no
//! plugins, the same bytes on every machine. `dist` is what comes out, so that building this crate needs no Node (in `ui`: `npm ci`, `npm run
//! check`, `npm run build`); a test builds it again from the lock file and compares.
//!
//! Names of assets carry a hash of their content, so browsers keep them for ever and never show an old one.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    extract::{Nothing, Parameters},
    problem::Fault,
};

/// The page runs and loads what comes from this port, and nothing else; no page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// So many bytes of a content's SHA-256 tell it from every other that this page ever had.
const HASH_BYTES: usize = 8;

/// A file that the page loads.
#[derive(Debug)]
struct Asset {
    /// As the page's source names it.
    source_name: &'static str,
    media_type: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

const ASSETS: [Asset; 3] = [
    Asset {
        source_name: "app.js",
        media_type: "text/javascript; charset=utf-8",
        plain: include_bytes!("dist/app.js"),
        gzip: include_bytes!("dist/app.js.gz"),
    },
    Asset {
        source_name: "app.css",
        media_type: "text/css; charset=utf-8",
        plain: include_bytes!("dist/app.css"),
        gzip: include_bytes!("dist/app.css.gz"),
    },
    Asset {
        source_name: "icon.svg",
        media_type: "image/svg+xml",
        plain: include_bytes!("dist/icon.svg"),
        gzip: include_bytes!("dist/icon.svg.gz"),
    },
];

/// The page with the names of its assets in their places, and its hash.
static PAGE: LazyLock<(Bytes, String)> = LazyLock::new(|| {
    let mut page = include_str!("dist/index.html").to_owned();
    for asset in &ASSETS {
        page = page.replace(&format!("/assets/{}", asset.source_name), &format!("/assets/{}", asset.name()));
    }
    let hash = hash(page.as_bytes());
    (page.into(), hash)
});

impl Asset {
    /// `app-0123456789abcdef.js`
    fn name(&self) -> String {
        let (stem, ending) = self.source_name.split_once('.').expect("assets have an ending");
        format!("{stem}-{}.{ending}", hash(self.plain))
    }
}

pub(super) async fn index(Parameters(Nothing {}): Parameters<Nothing>, headers: HeaderMap) -> Response {
    let (page, hash) = &*PAGE;
    let tag = HeaderValue::try_from(format!("\"{hash}\"")).expect("a hash is hexadecimal digits");
    // Asked again each time, since the names of assets change with the binary; mostly the answer is that nothing did.
    let head = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::ETAG, tag.clone()),
    ];
    if has(&headers, &header::IF_NONE_MATCH, tag.to_str().unwrap_or_default()) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.clone()).into_response()
}

pub(super) async fn asset(
    Path(name): Path<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let found = ASSETS.iter().find(|asset| asset.name() == name);
    let asset = found.ok_or_else(|| Fault::NoRoute { path: format!("/assets/{name}") })?;
    let head = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
    ];
    Ok(if has(&headers, &header::ACCEPT_ENCODING, "gzip") {
        (head, [(header::CONTENT_ENCODING, "gzip")], Body::from(asset.gzip)).into_response()
    } else {
        (head, Body::from(asset.plain)).into_response()
    })
}

/// Whether a header's list has this item, whatever parameters follow it.
fn has(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut items = values.flat_map(|value| value.split(','));
    items.any(|item| {
        let mut parts = item.trim().trim_start_matches("W/").split(';');
        let is_it = parts.next().is_some_and(|item| item.trim().eq_ignore_ascii_case(wanted));
        is_it && !parts.any(|parameter| matches!(parameter.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn hash(content: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    digest.as_ref().iter().take(HASH_BYTES).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser loads before it shows anything.
    const MOST_BYTES: usize = 300 << 10;

    #[test]
    fn the_dashboard_is_small() {
        let packed: usize = ASSETS.iter().map(|asset| asset.gzip.len()).sum();
        let total = packed + PAGE.0.len();
        assert!(total < MOST_BYTES, "{total}");
    }

    #[test]
    fn every_asset_is_on_the_page_under_its_own_name_alone() {
        let page = std::str::from_utf8(&PAGE.0).unwrap();
        for asset in &ASSETS {
            assert_eq!(page.matches(&asset.name()).count(), 1, "{page}");
            assert!(!page.contains(asset.source_name), "{page}");
        }
    }

    #[test]
    fn an_encoding_counts_only_where_it_is_wanted() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            has(&headers, &header::ACCEPT_ENCODING, "gzip")
        };
        assert!(takes("gzip") && takes("br;q=1.0, GZIP;q=0.5") && takes("deflate,gzip"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("x-gzip") && !takes(""));
    }
}
