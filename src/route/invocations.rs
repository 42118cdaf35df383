//! Endpoints whose clients call them by Amazon SageMaker Runtime's API.

use crate::name::VariantName;

/// Requests to `/endpoints/NAME/invocations` and `/endpoints/NAME/invocations-response-stream` are that API's, and are answered in its words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invocations {
    /// Which variant answers say has served, where the endpoint has none.
    pub variant: VariantName,
}
