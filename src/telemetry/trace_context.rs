//! Where a request stands in a trace: the headers `traceparent` and `tracestate` (<https://www.w3.org/TR/trace-context/>).

use std::fmt::Write as _;

/// The bytes of `traceparent` in version 00.
const LENGTH: usize = 55;

/// The flag that says that the caller's spans are kept.
const SAMPLED: u8 = 1;

/// A request's place in a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceContext {
    /// The trace's id, never zero.
    pub trace: u128,
    /// The caller's span, if there is a caller that said so.
    pub parent: Option<u64>,
    /// The request's own span, never zero where it is kept.
    pub span: u64,
    /// The trace's flags.
    pub flags: u8,
}

impl TraceContext {
    /// Reads `traceparent`. `None` of anything but what the standard defines, which begins a new trace. Of a later version only what version 00
    /// has is read, as the standard says.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?;
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let mut parts = known.split('-');
        let mut part = |digits: usize| parts.next().filter(|part| part.len() == digits && is_lower_hex(part));
        let version = part(2)?;
        let (trace, parent, flags) = (part(32)?, part(16)?, part(2)?);
        let is_fit = match version {
            "ff" => false,
            "00" => rest.is_empty(),
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let parent = u64::from_str_radix(parent, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        is_fit.then_some(Self { trace, parent: Some(parent), span: 0, flags })
    }

    /// Whether the caller keeps its spans.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same trace with a span of its own, which is kept.
    pub fn keep(self, span: u64) -> Self {
        Self { span, flags: self.flags | SAMPLED, ..self }
    }

    /// `traceparent` for whoever is called from this span.
    pub fn header(&self, span: u64) -> String {
        let mut text = String::with_capacity(LENGTH);
        write!(text, "00-{:032x}-{span:016x}-{:02x}", self.trace, self.flags).expect("a string takes all");
        text
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_standard_defines_is_read_and_written_alike() {
        let context = TraceContext::parse(GOOD.as_bytes()).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.header(context.parent.unwrap()), GOOD);
        let unsampled = TraceContext::parse(GOOD.replace("-01", "-00").as_bytes()).unwrap();
        assert!(!unsampled.is_sampled() && unsampled.keep(7).is_sampled());
        let later = GOOD.replacen("00-", "01-", 1);
        assert!(TraceContext::parse(later.as_bytes()).is_some());
        assert!(TraceContext::parse(format!("{later}-more").as_bytes()).is_some());
    }

    #[test]
    fn anything_else_begins_a_new_trace() {
        for bad in [
            "",
            &GOOD[1..],
            &format!("{GOOD}-more"),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00-", "ff-", 1),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace('-', "_"),
            &GOOD.replacen('4', "+", 1),
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(TraceContext::parse(&bytes).is_none_or(|context| context.trace != 0));
        }
    }
}
