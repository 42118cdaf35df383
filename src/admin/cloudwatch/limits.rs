//! The requests' constraints, as the service model of 2010-08-01 has them
//! (<https://github.com/boto/botocore/tree/develop/botocore/data/cloudwatch/2010-08-01>). A client test holds every one of them against
//! botocore's copy of the model.

use crate::admin::aws::{
    patterns,
    shape::{
        Member,
        Shape::{self, Anything, Flag, List, Map, Number, Structure, Text, Time, Whole, Word},
    },
};

const fn free(least: usize, most: usize) -> Shape {
    Text { least, most, pattern: None }
}

const fn list(least: usize, most: usize, item: &'static Shape) -> Shape {
    List { least, most, item }
}

const fn required(name: &'static str, shape: &'static Shape) -> Member {
    Member::required(name, shape)
}

const fn optional(name: &'static str, shape: &'static Shape) -> Member {
    Member::optional(name, shape)
}

/// Lists and texts without a bound of their own; the body has one.
const MANY: usize = 1 << 20;

static ANY: Shape = Anything;
static FLAG: Shape = Flag;
static TIME: Shape = Time;
static NUMBER: Shape = Number { least: f64::NEG_INFINITY };
static COUNT: Shape = Whole { least: 1, most: i32::MAX as i64 };
static WHOLE: Shape = Whole { least: i32::MIN as i64, most: i32::MAX as i64 };
static SOME_TEXT: Shape = free(0, MANY);
static NAME: Shape = free(1, 255);
static ACTION: Shape = free(1, 1_024);
static ACTIONS: Shape = list(0, 5, &ACTION);
static DESCRIPTION: Shape = free(0, 1_024);
static ARN: Shape = free(1, 1_024);
static NAMESPACE: Shape = Text { least: 1, most: 255, pattern: Some(&patterns::NAMESPACE) };
static STATE: Shape = Word(&["OK", "ALARM", "INSUFFICIENT_DATA"]);
static KIND: Shape = Word(&["CompositeAlarm", "MetricAlarm", "LogAlarm"]);
static KINDS: Shape = list(0, MANY, &KIND);
static STATISTIC: Shape = Word(&["SampleCount", "Average", "Sum", "Minimum", "Maximum"]);
static ORDER: Shape = Word(&["TimestampDescending", "TimestampAscending"]);
static COMPARISON: Shape = Word(&[
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
    "LessThanLowerOrGreaterThanUpperThreshold",
    "LessThanLowerThreshold",
    "GreaterThanUpperThreshold",
]);
static UNIT: Shape = Word(&[
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
]);

static DIMENSION: Shape = Structure(&[required("Name", &NAME), required("Value", &free(1, 1_024))]);
static DIMENSIONS: Shape = list(0, 30, &DIMENSION);
static DIMENSION_FILTER: Shape = Structure(&[required("Name", &NAME), optional("Value", &free(1, 1_024))]);

static TAG: Shape = Structure(&[required("Key", &free(1, 128)), required("Value", &free(0, 256))]);
static TAGS: Shape = list(0, MANY, &TAG);

static METRIC: Shape = Structure(&[
    optional("Namespace", &NAMESPACE),
    optional("MetricName", &NAME),
    optional("Dimensions", &DIMENSIONS),
]);
static METRIC_STAT: Shape = Structure(&[
    required("Metric", &METRIC),
    required("Period", &COUNT),
    required("Stat", &SOME_TEXT),
    optional("Unit", &UNIT),
]);
static QUERY: Shape = Structure(&[
    required("Id", &NAME),
    optional("MetricStat", &METRIC_STAT),
    optional("Expression", &free(1, 2_048)),
    optional("Label", &SOME_TEXT),
    optional("ReturnData", &FLAG),
    optional("Period", &COUNT),
    optional("AccountId", &NAME),
]);
static QUERIES: Shape = list(0, MANY, &QUERY);

static TAG_KEYS: Shape = list(1, 50, &free(1, 128));
static ACTION_CONFIGURATION: Shape = Structure(&[optional(
    "AlarmTagsPropagation",
    &Structure(&[
        required("Enabled", &FLAG),
        optional("IncludedTagKeys", &TAG_KEYS),
        optional("ExcludedTagKeys", &TAG_KEYS),
    ]),
)]);

pub(super) static PUT_ALARM: &[Member] = &[
    required("AlarmName", &NAME),
    optional("AlarmDescription", &DESCRIPTION),
    optional("ActionsEnabled", &FLAG),
    optional("OKActions", &ACTIONS),
    optional("AlarmActions", &ACTIONS),
    optional("InsufficientDataActions", &ACTIONS),
    optional("MetricName", &NAME),
    optional("Namespace", &NAMESPACE),
    optional("Statistic", &STATISTIC),
    optional("ExtendedStatistic", &SOME_TEXT),
    optional("Dimensions", &DIMENSIONS),
    optional("Period", &COUNT),
    optional("Unit", &UNIT),
    optional("EvaluationPeriods", &COUNT),
    optional("DatapointsToAlarm", &COUNT),
    optional("Threshold", &NUMBER),
    optional("ComparisonOperator", &COMPARISON),
    optional("TreatMissingData", &NAME),
    optional("EvaluateLowSampleCountPercentile", &NAME),
    optional("Metrics", &QUERIES),
    optional("Tags", &TAGS),
    optional("ThresholdMetricId", &NAME),
    optional(
        "EvaluationWindow",
        &Structure(&[
            optional("WallClockWindow", &Structure(&[optional("Timezone", &free(1, 50))])),
            optional("SlidingWindow", &Structure(&[])),
        ]),
    ),
    optional(
        "WarmUpConfiguration",
        &Structure(&[
            required("WarmUpPeriodDurationInMinutes", &Whole { least: 1, most: 2_880 }),
            optional("OnlyStartEvaluatingAfterWarmUpPeriodEnds", &FLAG),
        ]),
    ),
    optional(
        "EvaluationCriteria",
        &Structure(&[optional(
            "PromQLCriteria",
            &Structure(&[
                required("Query", &free(1, 10_000)),
                optional("PendingPeriod", &Whole { least: 0, most: 86_400 }),
                optional("RecoveryPeriod", &Whole { least: 0, most: 86_400 }),
            ]),
        )]),
    ),
    optional("EvaluationInterval", &Whole { least: 10, most: 3_600 }),
    optional("ActionConfiguration", &ACTION_CONFIGURATION),
];

pub(super) static PUT_COMPOSITE: &[Member] = &[
    optional("ActionsEnabled", &FLAG),
    optional("AlarmActions", &ACTIONS),
    optional("AlarmDescription", &DESCRIPTION),
    required("AlarmName", &NAME),
    required("AlarmRule", &free(1, 10_240)),
    optional("InsufficientDataActions", &ACTIONS),
    optional("OKActions", &ACTIONS),
    optional("Tags", &TAGS),
    optional("ActionsSuppressor", &free(1, 1_600)),
    optional("ActionsSuppressorWaitPeriod", &WHOLE),
    optional("ActionsSuppressorExtensionPeriod", &WHOLE),
    optional("ActionConfiguration", &ACTION_CONFIGURATION),
];

static NAMES: Shape = list(0, 100, &NAME);

pub(super) static DESCRIBE_ALARMS: &[Member] = &[
    optional("AlarmNames", &NAMES),
    optional("AlarmNamePrefix", &NAME),
    optional("AlarmTypes", &KINDS),
    optional("ChildrenOfAlarmName", &NAME),
    optional("ParentsOfAlarmName", &NAME),
    optional("StateValue", &STATE),
    optional("ActionPrefix", &ACTION),
    optional("MaxRecords", &PAGE),
    optional("NextToken", &SOME_TEXT),
];
static PAGE: Shape = Whole { least: 1, most: 100 };

pub(super) static DESCRIBE_FOR_METRIC: &[Member] = &[
    required("MetricName", &NAME),
    required("Namespace", &NAMESPACE),
    optional("Statistic", &STATISTIC),
    optional("ExtendedStatistic", &SOME_TEXT),
    optional("Dimensions", &DIMENSIONS),
    optional("Period", &COUNT),
    optional("Unit", &UNIT),
];

pub(super) static DESCRIBE_HISTORY: &[Member] = &[
    optional("AlarmName", &NAME),
    optional("AlarmContributorId", &free(1, 16)),
    optional("AlarmTypes", &KINDS),
    optional("HistoryItemType", &HISTORY_KIND),
    optional("StartDate", &TIME),
    optional("EndDate", &TIME),
    optional("MaxRecords", &PAGE),
    optional("NextToken", &SOME_TEXT),
    optional("ScanBy", &ORDER),
];
static HISTORY_KIND: Shape = Word(&[
    "ConfigurationUpdate",
    "StateUpdate",
    "Action",
    "AlarmContributorStateUpdate",
    "AlarmContributorAction",
]);

pub(super) static SET_STATE: &[Member] = &[
    required("AlarmName", &NAME),
    required("StateValue", &STATE),
    required("StateReason", &free(0, 1_023)),
    optional("StateReasonData", &free(0, 4_000)),
];

pub(super) static NAMED: &[Member] = &[required("AlarmNames", &NAMES)];

pub(super) static GET_STATISTICS: &[Member] = &[
    required("Namespace", &NAMESPACE),
    required("MetricName", &NAME),
    optional("Dimensions", &DIMENSIONS),
    required("StartTime", &TIME),
    required("EndTime", &TIME),
    required("Period", &COUNT),
    optional("Statistics", &list(1, 5, &STATISTIC)),
    optional("ExtendedStatistics", &list(1, 10, &SOME_TEXT)),
    optional("Unit", &UNIT),
];

pub(super) static GET_DATA: &[Member] = &[
    required("MetricDataQueries", &QUERIES),
    required("StartTime", &TIME),
    required("EndTime", &TIME),
    optional("NextToken", &SOME_TEXT),
    optional("ScanBy", &ORDER),
    optional("MaxDatapoints", &WHOLE),
    optional("LabelOptions", &Structure(&[optional("Timezone", &SOME_TEXT)])),
];

pub(super) static LIST_METRICS: &[Member] = &[
    optional("Namespace", &NAMESPACE),
    optional("MetricName", &NAME),
    optional("Dimensions", &list(0, 10, &DIMENSION_FILTER)),
    optional("NextToken", &SOME_TEXT),
    optional("RecentlyActive", &Word(&["PT3H"])),
    optional("IncludeLinkedAccounts", &FLAG),
    optional("OwningAccount", &NAME),
];

static DATUM: Shape = Structure(&[
    required("MetricName", &NAME),
    optional("Dimensions", &DIMENSIONS),
    optional("Timestamp", &TIME),
    optional("Value", &NUMBER),
    optional(
        "StatisticValues",
        &Structure(&[
            required("SampleCount", &NUMBER),
            required("Sum", &NUMBER),
            required("Minimum", &NUMBER),
            required("Maximum", &NUMBER),
        ]),
    ),
    optional("Values", &list(0, MANY, &NUMBER)),
    optional("Counts", &list(0, MANY, &NUMBER)),
    optional("Unit", &UNIT),
    optional("StorageResolution", &COUNT),
]);
static DATA: Shape = list(0, MANY, &DATUM);
static ATTRIBUTE: Shape = free(1, 2_048);

pub(super) static PUT_DATA: &[Member] = &[
    required("Namespace", &NAMESPACE),
    optional("MetricData", &DATA),
    optional(
        "EntityMetricData",
        &list(
            0,
            MANY,
            &Structure(&[
                optional(
                    "Entity",
                    &Structure(&[
                        optional("KeyAttributes", &Map { most: 4, key: &ANY, value: &ATTRIBUTE }),
                        optional("Attributes", &Map { most: 10, key: &ANY, value: &ATTRIBUTE }),
                    ]),
                ),
                optional("MetricData", &DATA),
            ]),
        ),
    ),
    optional("StrictEntityValidation", &FLAG),
];

pub(super) static TAG_RESOURCE: &[Member] = &[required("ResourceARN", &ARN), required("Tags", &TAGS)];
pub(super) static UNTAG_RESOURCE: &[Member] =
    &[required("ResourceARN", &ARN), required("TagKeys", &list(0, MANY, &free(1, 128)))];
pub(super) static LIST_TAGS: &[Member] = &[required("ResourceARN", &ARN)];
