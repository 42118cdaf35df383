//! Of endpoints.

use super::{
    ANY_LENGTH, COUNT, FLAG, NAME, NAME_PART, ORDER, PAGE, TAGS, TIME, TOKEN,
    config::{COUNT_OR_NONE, WEIGHT},
    list, optional, required, text, whole,
};
use crate::admin::aws::{
    patterns,
    shape::{
        Member,
        Shape::{self, Structure, Word},
    },
};

static SERVERLESS_UPDATE: Shape = Structure(&[
    optional("MaxConcurrency", &whole(1, 200)),
    optional("ProvisionedConcurrency", &whole(1, 200)),
]);
static CAPACITY: Shape =
    Structure(&[required("Type", &Word(&["INSTANCE_COUNT", "CAPACITY_PERCENT"])), required("Value", &COUNT)]);
static WAIT: Shape = whole(0, 3_600);
static EXECUTION_TIMEOUT: Shape = whole(600, 28_800);
static TRAFFIC: Shape = Structure(&[
    required("Type", &Word(&["ALL_AT_ONCE", "CANARY", "LINEAR"])),
    required("WaitIntervalInSeconds", &WAIT),
    optional("CanarySize", &CAPACITY),
    optional("LinearStepSize", &CAPACITY),
]);
static BLUE_GREEN: Shape = Structure(&[
    required("TrafficRoutingConfiguration", &TRAFFIC),
    optional("TerminationWaitInSeconds", &WAIT),
    optional("MaximumExecutionTimeoutInSeconds", &EXECUTION_TIMEOUT),
]);
static ROLLING: Shape = Structure(&[
    required("MaximumBatchSize", &CAPACITY),
    required("WaitIntervalInSeconds", &WAIT),
    optional("MaximumExecutionTimeoutInSeconds", &EXECUTION_TIMEOUT),
    optional("RollbackMaximumBatchSize", &CAPACITY),
]);
static AUTO_ROLLBACK: Shape = Structure(&[optional(
    "Alarms",
    &list(1, 10, &Structure(&[optional("AlarmName", &text(1, 255, &patterns::ALARM_NAME))])),
)]);
static DEPLOYMENT: Shape = Structure(&[
    optional("BlueGreenUpdatePolicy", &BLUE_GREEN),
    optional("RollingUpdatePolicy", &ROLLING),
    optional("AutoRollbackConfiguration", &AUTO_ROLLBACK),
]);

pub(in crate::admin::sagemaker) static CREATE_ENDPOINT: &[Member] = &[
    required("EndpointName", &NAME),
    required("EndpointConfigName", &NAME),
    optional("DeploymentConfig", &DEPLOYMENT),
    optional("Tags", &TAGS),
];
pub(in crate::admin::sagemaker) static NAMED_ENDPOINT: &[Member] = &[required("EndpointName", &NAME)];

static VARIANT_PROPERTY: Shape = Structure(&[required(
    "VariantPropertyType",
    &Word(&["DesiredInstanceCount", "DesiredWeight", "DataCaptureConfig"]),
)]);
pub(in crate::admin::sagemaker) static UPDATE_ENDPOINT: &[Member] = &[
    required("EndpointName", &NAME),
    required("EndpointConfigName", &NAME),
    optional("RetainAllVariantProperties", &FLAG),
    optional("ExcludeRetainedVariantProperties", &list(0, 3, &VARIANT_PROPERTY)),
    optional("DeploymentConfig", &DEPLOYMENT),
    optional("RetainDeploymentConfig", &FLAG),
];

static DESIRED: Shape = Structure(&[
    required("VariantName", &NAME),
    optional("DesiredWeight", &WEIGHT),
    optional("DesiredInstanceCount", &COUNT_OR_NONE),
    optional("ServerlessUpdateConfig", &SERVERLESS_UPDATE),
]);
pub(in crate::admin::sagemaker) static UPDATE_WEIGHTS: &[Member] = &[
    required("EndpointName", &NAME),
    // The model has no upper bound; an endpoint has at most ten variants.
    required("DesiredWeightsAndCapacities", &list(1, ANY_LENGTH, &DESIRED)),
];

static STATUS: Shape = Word(&[
    "OutOfService",
    "Creating",
    "Updating",
    "SystemUpdating",
    "RollingBack",
    "InService",
    "Deleting",
    "Failed",
    "UpdateRollbackFailed",
]);

pub(in crate::admin::sagemaker) static LIST_ENDPOINTS: &[Member] = &[
    optional("SortBy", &Word(&["Name", "CreationTime", "Status"])),
    optional("SortOrder", &ORDER),
    optional("NextToken", &TOKEN),
    optional("MaxResults", &PAGE),
    optional("NameContains", &NAME_PART),
    optional("CreationTimeBefore", &TIME),
    optional("CreationTimeAfter", &TIME),
    optional("LastModifiedTimeBefore", &TIME),
    optional("LastModifiedTimeAfter", &TIME),
    optional("StatusEquals", &STATUS),
];
