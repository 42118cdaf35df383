//! Of endpoint configurations.

use super::{
    ANY_COUNT, COUNT, FLAG, MODEL_NAME, NAME, ROLE, SOME_TEXT, TAGS, VPC, list, optional, required, text,
    whole,
};
use crate::admin::aws::{
    patterns,
    shape::{
        Member,
        Shape::{self, Anything, Number, Structure, Word},
    },
};

static KMS_KEY: Shape = text(0, 2_048, &patterns::KMS_KEY);
static DESTINATION: Shape = text(0, 512, &patterns::DESTINATION);
pub(super) static COUNT_OR_NONE: Shape = whole(0, ANY_COUNT);
pub(super) static WEIGHT: Shape = Number { least: 0.0 };
static OPAQUE: Shape = Anything;

static INSTANCE_POOL: Shape = Structure(&[
    required("InstanceType", &SOME_TEXT),
    required("Priority", &whole(1, 5)),
    optional("ModelNameOverride", &MODEL_NAME),
]);
static SERVERLESS: Shape = Structure(&[
    required("MemorySizeInMB", &whole(1_024, 6_144)),
    required("MaxConcurrency", &whole(1, 200)),
    optional("ProvisionedConcurrency", &whole(1, 200)),
]);
static SCALE_IN: Shape = Structure(&[
    required("Strategy", &Word(&["IDLE_RELEASE", "CONSOLIDATION"])),
    optional("MaximumStepSize", &whole(1, 100)),
    optional("CooldownInMinutes", &whole(5, 1_440)),
]);
static MANAGED_SCALING: Shape = Structure(&[
    optional("Status", &Word(&["ENABLED", "DISABLED"])),
    optional("MinInstanceCount", &COUNT_OR_NONE),
    optional("MaxInstanceCount", &COUNT),
    optional("ScaleInPolicy", &SCALE_IN),
]);
static PREFIX_AWARE: Shape = Structure(&[
    optional("PrefixLength", &whole(1_024, 65_536)),
    optional("ConcurrencyThreshold", &whole(1, 1_024)),
]);
static ROUTING: Shape = Structure(&[
    required("RoutingStrategy", &Word(&["LEAST_OUTSTANDING_REQUESTS", "RANDOM", "PREFIX_AWARE", "KV_AWARE"])),
    optional("PrefixAwareRoutingConfig", &PREFIX_AWARE),
]);
static CAPACITY_RESERVATION: Shape = Structure(&[
    optional("CapacityReservationPreference", &Word(&["capacity-reservations-only"])),
    optional("MlReservationArn", &text(20, 258, &patterns::RESERVATION_ARN)),
]);
static PARTITIONS: Shape =
    Structure(&[optional("AcceleratorPartitionTypes", &list(0, 32, &text(0, 32, &patterns::PARTITION)))]);
static ACCELERATORS: &[&str] = &[
    "ml.eia1.medium",
    "ml.eia1.large",
    "ml.eia1.xlarge",
    "ml.eia2.medium",
    "ml.eia2.large",
    "ml.eia2.xlarge",
];
static MACHINE_IMAGES: &[&str] = &[
    "al2-ami-sagemaker-inference-gpu-2",
    "al2-ami-sagemaker-inference-gpu-2-1",
    "al2-ami-sagemaker-inference-gpu-3-1",
    "al2-ami-sagemaker-inference-neuron-2",
    "al2023-ami-sagemaker-inference-gpu-4-1",
];
static VARIANT: Shape = Structure(&[
    required("VariantName", &NAME),
    optional("ModelName", &MODEL_NAME),
    optional("InitialInstanceCount", &COUNT),
    optional("InstanceType", &SOME_TEXT),
    optional("InstancePools", &list(1, 5, &INSTANCE_POOL)),
    optional("VariantInstanceProvisionTimeoutInSeconds", &whole(300, 3_600)),
    optional("InitialVariantWeight", &WEIGHT),
    optional("AcceleratorType", &Word(ACCELERATORS)),
    optional(
        "CoreDumpConfig",
        &Structure(&[required("DestinationS3Uri", &DESTINATION), optional("KmsKeyId", &KMS_KEY)]),
    ),
    optional("ServerlessConfig", &SERVERLESS),
    optional("VolumeSizeInGB", &whole(1, 512)),
    optional("ModelDataDownloadTimeoutInSeconds", &whole(60, 3_600)),
    optional("ContainerStartupHealthCheckTimeoutInSeconds", &whole(60, 3_600)),
    optional("EnableSSMAccess", &FLAG),
    optional("ManagedInstanceScaling", &MANAGED_SCALING),
    optional("RoutingConfig", &ROUTING),
    optional("InferenceAmiVersion", &Word(MACHINE_IMAGES)),
    optional("CapacityReservationConfig", &CAPACITY_RESERVATION),
    optional("AcceleratorPartitionLayouts", &list(1, 32, &PARTITIONS)),
]);
static VARIANTS: Shape = list(1, 10, &VARIANT);

static CAPTURE: Shape = Structure(&[
    optional("EnableCapture", &FLAG),
    required("InitialSamplingPercentage", &whole(0, 100)),
    required("DestinationS3Uri", &DESTINATION),
    optional("KmsKeyId", &KMS_KEY),
    required(
        "CaptureOptions",
        &list(1, 32, &Structure(&[required("CaptureMode", &Word(&["Input", "Output", "InputAndOutput"]))])),
    ),
    optional(
        "CaptureContentTypeHeader",
        &Structure(&[
            optional("CsvContentTypes", &list(1, 10, &text(1, 256, &patterns::MEDIA_TYPE))),
            optional("JsonContentTypes", &list(1, 10, &text(1, 256, &patterns::MEDIA_TYPE))),
        ]),
    ),
]);
static NOTIFICATIONS: Shape = Structure(&[
    optional("SuccessTopic", &text(0, 2_048, &patterns::TOPIC_ARN)),
    optional("ErrorTopic", &text(0, 2_048, &patterns::TOPIC_ARN)),
    optional(
        "IncludeInferenceResponseIn",
        &list(0, 2, &Word(&["SUCCESS_NOTIFICATION_TOPIC", "ERROR_NOTIFICATION_TOPIC"])),
    ),
]);
static ASYNC: Shape = Structure(&[
    optional(
        "ClientConfig",
        &Structure(&[optional("MaxConcurrentInvocationsPerInstance", &whole(1, 1_000))]),
    ),
    required(
        "OutputConfig",
        &Structure(&[
            optional("KmsKeyId", &KMS_KEY),
            optional("S3OutputPath", &DESTINATION),
            optional("NotificationConfig", &NOTIFICATIONS),
            optional("S3FailurePath", &DESTINATION),
        ]),
    ),
]);
static METRICS: Shape = Structure(&[
    optional("EnableEnhancedMetrics", &FLAG),
    optional("EnableDetailedObservability", &FLAG),
    optional("MetricPublishFrequencyInSeconds", &whole(i64::MIN, i64::MAX)),
]);
static CROSS_REGION: Shape = Structure(&[
    required("MaxInvocationsPerSecondPerInstance", &whole(1, 10_000)),
    required("MaxCrossRegionPercentPerEndpoint", &whole(1, 100)),
]);

pub(in crate::admin::sagemaker) static CREATE_CONFIG: &[Member] = &[
    required("EndpointConfigName", &NAME),
    required("ProductionVariants", &VARIANTS),
    optional("DataCaptureConfig", &CAPTURE),
    optional("Tags", &TAGS),
    optional("KmsKeyId", &KMS_KEY),
    optional("AsyncInferenceConfig", &ASYNC),
    optional("ExplainerConfig", &OPAQUE),
    optional("ShadowProductionVariants", &VARIANTS),
    optional("ExecutionRoleArn", &ROLE),
    optional("VpcConfig", &VPC),
    optional("EnableNetworkIsolation", &FLAG),
    optional("MetricsConfig", &METRICS),
    optional("CrossRegionTrafficConfig", &CROSS_REGION),
];
pub(in crate::admin::sagemaker) static NAMED_CONFIG: &[Member] = &[required("EndpointConfigName", &NAME)];
