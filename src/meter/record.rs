//! One recorded outcome, and the six words that it is kept in.

use std::time::Duration;

use super::{FailureKind, Gaps, GrpcStatus, Outcome, Rescue, Verdict};
use crate::{fleet::Side, time::Moment};

/// A record in memory. Times but the duration are kept in units of 1,024 ns, the histograms' finest, so that a time falls into the bucket
/// that it was counted in.
pub(super) type Words = [u64; 6];

/// Bytes that an outcome takes.
pub const RECORD_BYTES: usize = size_of::<Words>();

const UNIT_BITS: u32 = 10;

/// The code of the first kind of failure; before it stand the other verdicts.
const KINDS_FROM: usize = 5;

const _: () = assert!(KINDS_FROM + FailureKind::ALL.len() <= 1 << 5, "a verdict has five bits");

/// What is kept of an outcome: no body, no header, nothing that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the request was dealt.
    pub dealt_at: Moment,
    /// The fleet that it was dealt to; of a rescue, the one that tried.
    pub side: Side,
    /// What was in force then, by its number ([`super::Part`]).
    pub part: u32,
    /// The judgement.
    pub verdict: Verdict,
    /// The status that the upstream answered with, when it answered.
    pub status: Option<u16>,
    /// How a gRPC call ended, when the upstream said so.
    pub grpc_status: Option<GrpcStatus>,
    /// From dispatch to the response's head.
    pub first_byte: Option<Duration>,
    /// From dispatch to the first token of a stream.
    pub first_token: Option<Duration>,
    /// The longest time between two tokens of a stream.
    pub worst_gap: Option<Duration>,
    /// How a stream's gaps were, where they were judged: of one that was good, or had enough of them.
    pub gaps: Option<Gaps>,
    /// Tokens of a stream.
    pub tokens_out: u64,
    /// From dispatch to the last byte, or to the failure.
    pub duration: Duration,
    /// [`Rescue::Tried`] of a failure that went to blue; [`Rescue::Failed`] of blue's try for such a one, which failed too and counts for
    /// nobody else.
    pub rescue: Option<Rescue>,
}

impl Record {
    /// Of an outcome.
    pub fn of(outcome: &Outcome, dealt_at: Moment, side: Side) -> Self {
        let Outcome {
            verdict,
            status,
            grpc_status,
            first_byte,
            first_token,
            tokens_out,
            duration,
            bytes_in: _,
            bytes_out: _,
            overdue: _,
            passed: _,
            // Which requests warm an instance up is up to the plan that is replayed.
            is_warm_up: _,
        } = *outcome;
        Self {
            dealt_at,
            side,
            part: 0,
            verdict,
            status,
            grpc_status,
            first_byte,
            first_token,
            worst_gap: None,
            gaps: None,
            tokens_out,
            duration,
            rescue: None,
        }
    }

    /// Under what is in force by this number.
    pub(super) fn pack_under(&self, part: u32) -> Words {
        let pair = |high: u64, low: u64| high << 32 | low;
        let side = match self.side {
            Side::Blue => 0,
            Side::Green => 1,
        };
        let verdict = match self.verdict {
            Verdict::Success => 0,
            Verdict::ClientError => 1,
            Verdict::ClientGone => 2,
            Verdict::Shed => 3,
            Verdict::Excused => 4,
            Verdict::Failure(kind) => KINDS_FROM as u64 + kind.index() as u64,
        };
        let grpc = self.grpc_status.map_or(0, |status| 1 + status.code() as u64);
        let rescue = self.rescue.map_or(0, |rescue| 1 + rescue.index() as u64);
        let status = u64::from(self.status.unwrap_or(0) & 0x3ff);
        let codes = side | verdict << 1 | grpc << 6 | rescue << 11 | status << 14;
        [
            self.dealt_at.as_nanos(),
            nanos(self.duration),
            pair(coded(self.first_byte), coded(self.first_token)),
            pair(coded(self.worst_gap), self.tokens_out.min(u64::from(u32::MAX))),
            pair(codes, u64::from(part)),
            self.gaps.map_or(0, |gaps| pair(coded(Some(gaps.mean)), u32::from_be_bytes(gaps.rungs).into())),
        ]
    }

    /// `None` of what [`Record::pack_under`] never makes.
    pub(super) fn unpack(words: Words) -> Option<Self> {
        let [dealt_at, duration, heads, stream, meta, pace] = words;
        let (low, codes) = (u64::from(u32::MAX), meta >> 32);
        let field = |shift: u32, bits: u32| usize::try_from(codes >> shift & ((1 << bits) - 1)).ok();
        let verdict = match field(1, 5)? {
            0 => Verdict::Success,
            1 => Verdict::ClientError,
            2 => Verdict::ClientGone,
            3 => Verdict::Shed,
            4 => Verdict::Excused,
            failure => Verdict::Failure(*FailureKind::ALL.get(failure - KINDS_FROM)?),
        };
        let grpc_status = match field(6, 5)? {
            0 => None,
            grpc => Some(*GrpcStatus::ALL.get(grpc - 1)?),
        };
        let rescue = match field(11, 3)? {
            0 => None,
            rescue => Some(*Rescue::ALL.get(rescue - 1)?),
        };
        let rungs = u32::try_from(pace & low).ok()?.to_be_bytes();
        let status = u16::try_from(field(14, 10)?).ok().filter(|status| *status > 0);
        Some(Self {
            dealt_at: Moment::from_nanos(dealt_at),
            side: if codes & 1 == 0 { Side::Blue } else { Side::Green },
            part: u32::try_from(meta & low).ok()?,
            verdict,
            status,
            grpc_status,
            first_byte: decoded(heads >> 32),
            first_token: decoded(heads & low),
            worst_gap: decoded(stream >> 32),
            gaps: decoded(pace >> 32).map(|mean| Gaps { mean, rungs }),
            tokens_out: stream & low,
            duration: Duration::from_nanos(duration),
            rescue,
        })
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Zero for none; the longest that fits are 73 minutes.
fn coded(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| 1 + (nanos(time) >> UNIT_BITS).min(u64::from(u32::MAX) - 1))
}

fn decoded(code: u64) -> Option<Duration> {
    code.checked_sub(1).map(|units| Duration::from_nanos(units << UNIT_BITS))
}

#[cfg(test)]
pub(in crate::meter) mod tests {
    use proptest::{option, prelude::*, sample::select};

    use super::*;

    pub(crate) fn record() -> impl Strategy<Value = Record> {
        let verdicts = FailureKind::ALL.into_iter().map(Verdict::Failure);
        let others =
            [Verdict::Success, Verdict::ClientError, Verdict::ClientGone, Verdict::Shed, Verdict::Excused];
        let verdict = select(verdicts.chain(others).collect::<Vec<_>>());
        let time = || option::of((0_u64..1 << 31).prop_map(|units| Duration::from_nanos(units << UNIT_BITS)));
        let gaps = option::of((0_u64..1 << 31, any::<[u8; 4]>()));
        let codes = (option::of(100_u16..1_000), option::of(select(GrpcStatus::ALL.to_vec())));
        let rescue = option::of(select(Rescue::ALL.to_vec()));
        let numbers = (any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>(), any::<bool>());
        (verdict, codes, (time(), time(), time(), gaps), rescue, numbers).prop_map(
            |(
                verdict,
                (status, grpc_status),
                (first_byte, first_token, worst_gap, gaps),
                rescue,
                numbers,
            )| {
                let (dealt_at, part, tokens_out, duration, is_green) = numbers;
                Record {
                    dealt_at: Moment::from_nanos(dealt_at),
                    side: if is_green { Side::Green } else { Side::Blue },
                    part,
                    verdict,
                    status,
                    grpc_status,
                    first_byte,
                    first_token,
                    worst_gap,
                    gaps: gaps
                        .map(|(units, rungs)| Gaps { mean: Duration::from_nanos(units << UNIT_BITS), rungs }),
                    tokens_out: tokens_out.into(),
                    duration: Duration::from_nanos(duration),
                    rescue,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(record in record()) {
            prop_assert_eq!(Record::unpack(record.pack_under(record.part)), Some(record));
        }

        #[test]
        fn any_words_are_read_without_a_panic(words: Words) {
            let _record = Record::unpack(words);
        }
    }

    #[test]
    fn times_that_are_too_long_are_the_longest() {
        assert_eq!(coded(Some(Duration::MAX)), u64::from(u32::MAX));
        assert_eq!(decoded(coded(Some(Duration::ZERO))), Some(Duration::ZERO));
    }
}
