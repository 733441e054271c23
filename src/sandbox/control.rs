//! The switchboard for humans: `POST /faults/{vendor}` breaks a vendor, `DELETE` heals it.

use axum::{Router, extract::Path, http::StatusCode, routing::post};

use super::{Fault, Vendor, vendor::Stand};

pub(super) fn router(stands: &[Stand]) -> Router {
    let (breaking, healing) = (stands.to_vec(), stands.to_vec());
    let set = async move |Path(vendor): Path<String>, body: String| match serde_json::from_str(&body) {
        Ok(fault) => switch(&breaking, &vendor, fault),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let heal = async move |Path(vendor): Path<String>| switch(&healing, &vendor, Fault::None);
    Router::new().route("/faults/{vendor}", post(set).delete(heal))
}

fn switch(stands: &[Stand], vendor: &str, fault: Fault) -> (StatusCode, String) {
    let Some(stand) = stands.iter().find(|stand| stand.vendor.path() == vendor) else {
        let known = Vendor::ALL.map(Vendor::path).join(", ");
        return (StatusCode::NOT_FOUND, format!("no such vendor, there are {known}\n"));
    };
    let said = format!("{vendor}: {fault:?}\n");
    stand.faults.set(fault);
    (StatusCode::OK, said)
}
