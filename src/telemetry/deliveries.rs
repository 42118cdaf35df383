//! What the metrics know of events that leave the process.

use super::{
    exposition::Exposition,
    names::{self, ATTEMPT_FAILED, DELIVERED, GIVEN_UP},
};

/// What is known of deliveries.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DeliveryFigures {
    /// Each webhook.
    pub webhooks: Vec<WebhookFigures>,
    /// Whether the file of events cannot be written; `None` without one.
    pub is_file_failing: Option<bool>,
}

/// What is known of a webhook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebhookFigures {
    /// Its name.
    pub name: String,
    /// Deliveries.
    pub delivered: u64,
    /// Failed attempts.
    pub failed: u64,
    /// Events given up.
    pub given_up: u64,
    /// Endpoints whose events wait.
    pub waiting: usize,
}

/// Writes them; nothing where nothing is configured.
pub(super) fn write(text: &Exposition, figures: &DeliveryFigures) {
    let DeliveryFigures { webhooks, is_file_failing } = figures;
    if !webhooks.is_empty() {
        let deliveries = text.counters(&names::WEBHOOK_DELIVERIES);
        let waiting = text.gauges(&names::WEBHOOK_WAITING);
        for webhook in webhooks {
            let name = webhook.name.as_str();
            deliveries([name, DELIVERED], webhook.delivered);
            deliveries([name, ATTEMPT_FAILED], webhook.failed);
            deliveries([name, GIVEN_UP], webhook.given_up);
            waiting([name], f64::from(u32::try_from(webhook.waiting).unwrap_or(u32::MAX)));
        }
    }
    if let Some(is_failing) = is_file_failing {
        text.gauges(&names::EVENTS_FILE_FAILING)([], f64::from(*is_failing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_and_a_file_have_series_and_their_absence_has_none() {
        let text = Exposition::new();
        let webhook =
            WebhookFigures { name: "ops".to_owned(), delivered: 7, failed: 2, given_up: 1, waiting: 3 };
        write(&text, &DeliveryFigures { webhooks: vec![webhook], is_file_failing: Some(true) });
        let text = text.finish();
        for line in [
            "snapback_webhook_deliveries_total{webhook=\"ops\",result=\"delivered\"} 7",
            "snapback_webhook_deliveries_total{webhook=\"ops\",result=\"failed\"} 2",
            "snapback_webhook_deliveries_total{webhook=\"ops\",result=\"given_up\"} 1",
            "snapback_webhook_waiting_endpoints{webhook=\"ops\"} 3",
            "snapback_events_file_failing 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let none = Exposition::new();
        write(&none, &DeliveryFigures::default());
        assert_eq!(none.finish(), "");
    }
}
