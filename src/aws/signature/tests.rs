//! Requests of AWS's own test suite for version 4, and others that botocore has signed, at the suite's moment and with its key.

use http::{HeaderName, HeaderValue};

use super::*;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const STAMP: &str = "20150830T123600Z";

struct Case {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: Vec<(&'static str, String)>,
    body: &'static [u8],
}

impl Case {
    fn new(method: &'static str, path: &'static str, query: &'static str, signature: &str) -> Self {
        Self::of_service(method, (path, query), ("service", "host;x-amz-date"), signature)
    }

    fn of_service(
        method: &'static str,
        (path, query): (&'static str, &'static str),
        (service, signed): (&str, &str),
        signature: &str,
    ) -> Self {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={KEY}/20150830/us-east-1/{service}/aws4_request, SignedHeaders={signed}, Signature={signature}"
        );
        let headers = vec![
            ("host", "example.amazonaws.com".to_owned()),
            ("x-amz-date", STAMP.to_owned()),
            ("authorization", authorization),
        ];
        Self { method, path, query, headers, body: b"" }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }

    fn verify_at(&self, moment: &str) -> Result<String, SignatureError> {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        let headers: HeaderMap = headers.collect();
        let Self { method, path, query, headers: _, body } = self;
        let request = Request { method, path, query, headers: &headers, body };
        let now = WallTime::from_millis(millis(moment).unwrap());
        verify(&request, now, &["service", "sagemaker"], |key| (key == KEY).then(|| SECRET.to_owned()))
    }

    fn verify(&self) -> Result<String, SignatureError> {
        self.verify_at(STAMP)
    }
}

fn vanilla() -> Case {
    Case::new("GET", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")
}

fn target() -> Case {
    let signed = ("sagemaker", "content-type;host;x-amz-date;x-amz-target");
    let signature = "b0cf3234047795f5cbf9aaf1a2cb593b09fe2909aa9ff1a46e1a5205efe49392";
    let case = Case::of_service("POST", ("/", ""), signed, signature)
        .with("content-type", "application/x-amz-json-1.1")
        .with("x-amz-target", "SageMaker.ListEndpoints");
    Case { body: b"{\"MaxResults\": 1}", ..case }
}

#[test]
fn signatures_of_awss_suite_and_of_botocore_are_right() {
    let of_headers = Case::of_service(
        "GET",
        ("/", ""),
        ("service", "host;my-header1;my-header2;x-amz-date"),
        "17bf0fd75efb33ef89beb430b0eae198c3ab25cd092abc6a0ed2f1fd854f9a0e",
    );
    let cases = [
        vanilla(),
        Case::new("POST", "/", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        Case::new(
            "GET",
            "/",
            "Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        Case::new(
            "GET",
            "/example/..",
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        Case::new(
            "GET",
            "/%E1%88%B4",
            "",
            "697b34846207a3f72246f99d74ae1ee4fe54f44bb06730c58a0d339eb079596d",
        ),
        Case::new(
            "GET",
            "/",
            "-._~0123456789=%2Fa%20b",
            "285cfecd8cb57aacde6f14493f4748cc66513e4f09a51ed3ced7248482599018",
        ),
        of_headers.with("my-header1", " value1   x ").with("my-header2", " \"a   b   c\" "),
        target(),
    ];
    for case in cases {
        assert_eq!(case.verify(), Ok(KEY.to_owned()), "{} {}?{}", case.method, case.path, case.query);
    }
}

#[test]
fn whatever_is_changed_after_the_signing_is_noticed() {
    let changed = [
        Case { method: "POST", ..vanilla() },
        Case { path: "/other", ..vanilla() },
        Case { query: "a=b", ..vanilla() },
        Case { body: b"x", ..vanilla() },
        vanilla().with("host", "other.amazonaws.com"),
        vanilla().with("x-amz-date", "20150830T123601Z"),
        target().with("x-amz-target", "SageMaker.DeleteEndpoint"),
        Case { body: b"{\"MaxResults\": 2}", ..target() },
    ];
    for case in changed {
        assert_eq!(case.verify(), Err(SignatureError::Mismatch), "{} {}", case.method, case.path);
    }
    let added = vanilla().with("x-amz-target", "SageMaker.DeleteEndpoint").verify().unwrap_err();
    assert!(added.to_string().contains("'x-amz-target' must be a 'SignedHeader'"), "{added}");
}

#[test]
fn a_signature_is_good_for_a_quarter_of_an_hour_on_both_sides() {
    for good in ["20150830T122100Z", "20150830T125100Z"] {
        assert!(vanilla().verify_at(good).is_ok(), "{good}");
    }
    assert_eq!(
        vanilla().verify_at("20150830T125101Z").unwrap_err().to_string(),
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"
    );
    assert_eq!(
        vanilla().verify_at("20150830T122059Z").unwrap_err().to_string(),
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)"
    );
}

#[test]
fn what_is_missing_or_cannot_be_is_named() {
    let authorization = |text: &str| vanilla().with("authorization", text).verify().unwrap_err();
    assert_eq!(vanilla().without("authorization").verify(), Err(SignatureError::Missing));
    let no_date = vanilla().without("x-amz-date").verify().unwrap_err().to_string();
    assert!(no_date.contains("'X-Amz-Date'"), "{no_date}");
    let scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
    let cases = [
        ("Basic abc".to_owned(), "algorithm"),
        ("AWS4-HMAC-SHA256 ".to_owned(), "'Credential' parameter. Authorization header requires 'Signature'"),
        (format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date"), "'Signature'"),
        ("AWS4-HMAC-SHA256 Credential=A/B, SignedHeaders=host, Signature=00".to_owned(), "5 slash-delimited"),
        (
            format!("AWS4-HMAC-SHA256 Credential={scope}4, SignedHeaders=host, Signature=00"),
            "valid terminator",
        ),
        (
            format!(
                "AWS4-HMAC-SHA256 Credential={}, SignedHeaders=host, Signature=00",
                scope.replace("/service/", "/s3/")
            ),
            "correct service: 'service' or 'sagemaker'",
        ),
        (
            format!(
                "AWS4-HMAC-SHA256 Credential={}, SignedHeaders=host, Signature=00",
                scope.replace("0830", "0831")
            ),
            "'20150831' != '20150830'",
        ),
        (format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=x-amz-date, Signature=00"), "'Host'"),
    ];
    for (text, wanted) in cases {
        let error = authorization(&text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let unknown = format!(
        "AWS4-HMAC-SHA256 Credential={}, SignedHeaders=host;x-amz-date, Signature=00",
        scope.replace(KEY, "AKIDOTHER")
    );
    assert_eq!(authorization(&unknown), SignatureError::UnknownKey);
    let short = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=0g");
    assert_eq!(authorization(&short), SignatureError::Mismatch);
}

#[test]
fn a_declared_hash_of_the_body_must_be_right_and_may_be_left_out_of_the_signature() {
    let signed = ("service", "host;x-amz-content-sha256;x-amz-date");
    let request = |declared: &str, body: &'static [u8]| {
        let case = Case::of_service("POST", ("/", ""), signed, "00").with("x-amz-content-sha256", declared);
        let case = Case { body, ..case };
        let canonical = format!(
            "POST\n/\n\nhost:example.amazonaws.com\nx-amz-content-sha256:{declared}\nx-amz-date:{STAMP}\n\n{}\n{declared}",
            signed.1
        );
        let text = format!(
            "AWS4-HMAC-SHA256\n{STAMP}\n20150830/us-east-1/service/aws4_request\n{}",
            hex(hash(canonical.as_bytes()).as_ref())
        );
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{SECRET}").as_bytes());
        for part in ["20150830", "us-east-1", "service", "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
        let headers = Case::of_service("POST", ("/", ""), signed, &signature).headers;
        Case { headers, ..case }.with("x-amz-content-sha256", declared).verify()
    };
    let hash_of_x = hex(hash(b"x").as_ref());
    assert_eq!(request("UNSIGNED-PAYLOAD", b"anything"), Ok(KEY.to_owned()));
    assert_eq!(request(&hash_of_x, b"x"), Ok(KEY.to_owned()));
    assert_eq!(request(&hash_of_x, b"y"), Err(SignatureError::Mismatch));
}

proptest::proptest! {
    #[test]
    fn no_bytes_in_a_head_do_harm(
        authorization in "(AWS4-HMAC-SHA256 )?[ -~]{0,120}",
        path in "/[ -~]{0,40}",
        query in "[ -~]{0,40}",
        stamp in "[0-9TZ]{0,20}",
    ) {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
        headers.insert("x-amz-date", HeaderValue::from_str(&stamp).unwrap());
        let request = Request { method: "GET", path: &path, query: &query, headers: &headers, body: b"" };
        let now = WallTime::from_millis(0);
        proptest::prop_assert!(verify(&request, now, &["service"], |_| Some(String::new())).is_err());
        let canonical = canonical::request(&request, &["host"], "x");
        proptest::prop_assert!(canonical.starts_with("GET\n/"));
    }
}
