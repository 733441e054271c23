//! Every form in which an event of this room was ever written, and that it is read today.

use serde_json::{Value, json};

use super::{UPCASTERS, names::NamesEvent, server::ServerEvent};
use crate::events::Upcasters;

/// The event type, the form, and the data as it was written then: a file that is never changed.
macro_rules! golden {
    ($($event_type:literal $form:literal),+ $(,)?) => {
        &[$((
            $event_type,
            $form,
            include_str!(concat!("../../../tests/fixtures/events/", $event_type, ".", $form, ".json")),
        )),+]
    };
}

const GOLDEN: &[(&str, u32, &str)] = golden!(
    "McpServerRegistered" 1,
    "McpServerUpdated" 1,
    "McpServerEnabled" 1,
    "McpServerDisabled" 1,
    "McpServerRemoved" 1,
    "McpServerChecked" 1,
    "McpToolsChanged" 1,
    "McpToolApproved" 1,
    "McpNameTaken" 1,
    "McpNameFreed" 1,
);

fn written_again(newest: Value) -> Value {
    let is_of_names = newest["type"].as_str().unwrap().starts_with("McpName");
    let written = if is_of_names {
        serde_json::to_value(serde_json::from_value::<NamesEvent>(newest).unwrap())
    } else {
        serde_json::to_value(serde_json::from_value::<ServerEvent>(newest).unwrap())
    };
    written.unwrap()
}

#[test]
fn every_form_that_was_ever_written_is_read() {
    let upcasters = Upcasters::new(UPCASTERS.iter().copied());
    for (event_type, form, written) in GOLDEN {
        let data = upcasters.upcast(event_type, *form, serde_json::from_str(written).unwrap());
        let newest = json!({ "type": event_type, "data": data.expect("the form is known") });
        assert_eq!(written_again(newest.clone()), newest, "{event_type} {form}");
    }
}

#[test]
fn every_form_up_to_the_newest_has_its_file() {
    let upcasters = Upcasters::new(UPCASTERS.iter().copied());
    for (event_type, ..) in GOLDEN {
        let files = GOLDEN.iter().filter(|(name, ..)| name == event_type);
        let forms: Vec<u32> = files.map(|(_, form, _)| *form).collect();
        assert_eq!(forms, (1..=upcasters.newest(event_type)).collect::<Vec<_>>(), "{event_type}");
    }
}
