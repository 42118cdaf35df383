//! The requests' constraints, as the service model of 2017-07-24 has them
//! (<https://github.com/boto/botocore/tree/develop/botocore/data/sagemaker/2017-07-24>). A client test holds every one of them against
//! botocore's copy of the model.
//!
//! Instance types are not enumerated: AWS adds some every month, and here they are words for the operator's own use. What explains inferences
//! (`ExplainerConfig`) is kept and means nothing.

mod config;
mod endpoint;

pub(super) use config::{CREATE_CONFIG, NAMED_CONFIG};
pub(super) use endpoint::{CREATE_ENDPOINT, LIST_ENDPOINTS, NAMED_ENDPOINT, UPDATE_ENDPOINT, UPDATE_WEIGHTS};

use crate::admin::aws::{
    patterns::{self, Pattern},
    shape::{
        Member,
        Shape::{self, Flag, List, Map, Structure, Text, Time, Whole, Word},
    },
};

const fn text(least: usize, most: usize, pattern: &'static Pattern) -> Shape {
    Text { least, most, pattern: Some(pattern) }
}

const fn free(least: usize, most: usize) -> Shape {
    Text { least, most, pattern: None }
}

const fn whole(least: i64, most: i64) -> Shape {
    Whole { least, most }
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

const ANY_COUNT: i64 = i32::MAX as i64;
const ANY_LENGTH: usize = 1 << 20;

static NAME: Shape = text(0, 63, &patterns::NAME);
static MODEL_NAME: Shape = text(0, 63, &patterns::MODEL_NAME);
static SOME_TEXT: Shape = free(0, ANY_LENGTH);
static ROLE: Shape = text(20, 2_048, &patterns::ROLE);
static URL: Shape = text(0, 1_024, &patterns::URL);
static FLAG: Shape = Flag;
static COUNT: Shape = whole(1, ANY_COUNT);

static TAG: Shape = Structure(&[
    required("Key", &text(1, 128, &patterns::TAG)),
    required("Value", &text(0, 256, &patterns::TAG)),
]);
static TAGS: Shape = list(0, 50, &TAG);
static RESOURCE_ARN: Shape = text(0, 256, &patterns::SAGEMAKER_ARN);

static VPC: Shape = Structure(&[
    required("SecurityGroupIds", &list(1, 5, &text(0, 32, &patterns::NETWORK_ID))),
    required("Subnets", &list(1, 16, &text(0, 32, &patterns::NETWORK_ID))),
]);

static MODEL_DATA: Shape = Structure(&[optional("S3DataSource", &S3_MODEL)]);
static S3_MODEL: Shape = Structure(&[
    required("S3Uri", &URL),
    required("S3DataType", &Word(&["S3Prefix", "S3Object"])),
    required("CompressionType", &Word(&["None", "Gzip"])),
    optional("ModelAccessConfig", &Structure(&[required("AcceptEula", &FLAG)])),
    optional("HubAccessConfig", &Structure(&[required("HubContentArn", &free(0, 255))])),
    optional("ManifestS3Uri", &URL),
    optional("ETag", &SOME_TEXT),
    optional("ManifestEtag", &SOME_TEXT),
]);
static EXTRA_MODEL_DATA: Shape = Structure(&[
    required("ChannelName", &text(1, 64, &patterns::CHANNEL)),
    required("S3DataSource", &S3_MODEL),
]);
static IMAGE_CONFIG: Shape = Structure(&[
    required("RepositoryAccessMode", &Word(&["Platform", "Vpc"])),
    optional(
        "RepositoryAuthConfig",
        &Structure(&[required("RepositoryCredentialsProviderArn", &free(1, 2_048))]),
    ),
]);
static METRICS_ENDPOINT: Shape = Structure(&[
    required("MetricsEndpointPath", &text(0, 256, &patterns::METRICS_PATH)),
    optional("MetricPublishFrequencyInSeconds", &whole(i64::MIN, i64::MAX)),
]);
static CONTAINER: Shape = Structure(&[
    optional("ContainerHostname", &NAME),
    optional("Image", &text(0, 255, &patterns::NO_SPACE)),
    optional("ImageConfig", &IMAGE_CONFIG),
    optional("Mode", &Word(&["SingleModel", "MultiModel"])),
    optional("ModelDataUrl", &URL),
    optional("ModelDataSource", &MODEL_DATA),
    optional("AdditionalModelDataSources", &list(0, 5, &EXTRA_MODEL_DATA)),
    optional(
        "Environment",
        &Map { most: 100, key: &text(0, 1_024, &patterns::VARIABLE), value: &free(0, 1_024) },
    ),
    optional("ModelPackageName", &text(1, 176, &patterns::MODEL_PACKAGE)),
    optional("InferenceSpecificationName", &text(1, 63, &patterns::NAME)),
    optional(
        "MultiModelConfig",
        &Structure(&[optional("ModelCacheSetting", &Word(&["Enabled", "Disabled"]))]),
    ),
    optional(
        "ContainerMetricsConfig",
        &Structure(&[optional("MetricsEndpoints", &list(0, 1, &METRICS_ENDPOINT))]),
    ),
]);

pub(super) static CREATE_MODEL: &[Member] = &[
    required("ModelName", &MODEL_NAME),
    optional("PrimaryContainer", &CONTAINER),
    optional("Containers", &list(0, 15, &CONTAINER)),
    optional("InferenceExecutionConfig", &Structure(&[required("Mode", &Word(&["Serial", "Direct"]))])),
    optional("ExecutionRoleArn", &ROLE),
    optional("Tags", &TAGS),
    optional("VpcConfig", &VPC),
    optional("EnableNetworkIsolation", &FLAG),
];
pub(super) static NAMED_MODEL: &[Member] = &[required("ModelName", &MODEL_NAME)];

static ORDER: Shape = Word(&["Ascending", "Descending"]);
static TOKEN: Shape = free(0, 8_192);
static PAGE: Shape = whole(1, 100);
static NAME_PART: Shape = text(0, 63, &patterns::NAME_PART);
static TIME: Shape = Time;
/// Of models and of configurations.
pub(super) static LIST_NAMED: &[Member] = &[
    optional("SortBy", &Word(&["Name", "CreationTime"])),
    optional("SortOrder", &ORDER),
    optional("NextToken", &TOKEN),
    optional("MaxResults", &PAGE),
    optional("NameContains", &NAME_PART),
    optional("CreationTimeBefore", &TIME),
    optional("CreationTimeAfter", &TIME),
];

pub(super) static ADD_TAGS: &[Member] = &[required("ResourceArn", &RESOURCE_ARN), required("Tags", &TAGS)];
pub(super) static LIST_TAGS: &[Member] = &[
    required("ResourceArn", &RESOURCE_ARN),
    optional("NextToken", &TOKEN),
    optional("MaxResults", &whole(50, ANY_COUNT)),
];
pub(super) static DELETE_TAGS: &[Member] = &[
    required("ResourceArn", &RESOURCE_ARN),
    required("TagKeys", &list(1, 50, &text(1, 128, &patterns::TAG))),
];
