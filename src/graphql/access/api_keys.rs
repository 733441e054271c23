//! `apiKeys`, `apiKeyCreate` and `apiKeyRevoke`.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use serde_json::json;

use super::problems::{AccessErrorCode, AccessUserError};
use crate::{
    auth::{ApiKeyDraft, ApiKeyError, ApiKeyPage, ApiKeyPlace, ApiKeyRecord, CreatedApiKey},
    graphql::{
        context::ContextExt,
        directives::{Inherit, Private, RequiredRole, auth},
        error::ApiError,
        paging::{PageInfo, asked, decode, encode},
        rows::Rows,
        scalars::DateTime,
    },
    secrets::ShownOnce,
};

#[derive(Default)]
pub(crate) struct ApiKeysQuery;

#[Object]
impl ApiKeysQuery {
    /// All API keys, newest first, those that count no more included.
    #[graphql(directive = auth::apply(RequiredRole::Admin), directive = Private::apply())]
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 20)] first: i32,
        #[graphql(desc = "The `cursor` or `endCursor` after which to go on.")] after: Option<String>,
    ) -> Option<Result<ApiKeyConnection>> {
        Some(page(ctx, first, after.as_deref()).await)
    }
}

async fn page(ctx: &Context<'_>, first: i32, after: Option<&str>) -> Result<ApiKeyConnection> {
    let (first, place) = asked(first, after, place_of)?;
    let found = ctx.services().auth.api_keys.page(place, first).await;
    Ok(ApiKeyConnection(found.map_err(ApiError::from)?))
}

/// Describes the API key to make.
#[derive(InputObject)]
pub(crate) struct ApiKeyCreateInput {
    /// What people call it, 1 to 100 characters.
    name: String,
    /// Who its bearer is, 1 to 256 characters. Give a program a subject of its own.
    subject: String,
    /// What its bearer may do.
    role: RequiredRole,
    /// When it ends, at most ten years from now; null for a key that does not.
    expires_at: Option<DateTime>,
}

/// The new API key, or why there is none.
#[derive(SimpleObject)]
pub(crate) struct ApiKeyCreatePayload {
    /// What is known of the key; null when none was made.
    api_key: Option<ApiKey>,
    /// The key itself, shown this once: also null when a request with the same idempotency key has made it before.
    key: Option<String>,
    /// What was wrong with the input.
    user_errors: Vec<AccessUserError>,
}

/// Names the API key to revoke.
#[derive(InputObject)]
pub(crate) struct ApiKeyRevokeInput {
    /// Its id, `key_` and 16 digits of its text.
    id: ID,
}

/// The API key after it was revoked, or why it was not.
#[derive(SimpleObject)]
pub(crate) struct ApiKeyRevokePayload {
    /// The key as it stands now; null when nothing was done.
    api_key: Option<ApiKey>,
    /// What was wrong with the input.
    user_errors: Vec<AccessUserError>,
}

#[derive(Default)]
pub(crate) struct ApiKeysMutation;

#[Object]
impl ApiKeysMutation {
    /// Makes an API key, whose text is shown once.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn api_key_create(&self, ctx: &Context<'_>, input: ApiKeyCreateInput) -> Result<ApiKeyCreatePayload> {
        let draft = draft(input);
        let ApiKeyDraft { name, subject, role, expires_at } = &draft;
        let arguments = json!({ "name": name, "subject": subject, "role": role, "expiresAt": expires_at });
        let command = ctx.command("apiKeyCreate", &arguments);
        let (api_key, key, user_errors) = match ctx.services().auth.api_keys.create(command, ctx.origin(), &draft).await
        {
            Ok(CreatedApiKey { record, text }) => (Some(ApiKey(record)), text.map(ShownOnce::into_text), Vec::new()),
            Err(ApiKeyError::Invalid(problems)) => (None, None, AccessUserError::all(problems)),
            Err(error) => return Err(ApiError::from(error).into()),
        };
        Ok(ApiKeyCreatePayload { api_key, key, user_errors })
    }

    /// Revokes an API key for good. This node refuses it at once, others within five seconds.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn api_key_revoke(&self, ctx: &Context<'_>, input: ApiKeyRevokeInput) -> Result<ApiKeyRevokePayload> {
        // What is no id is one of no key.
        let id = input.id.strip_prefix("key_").unwrap_or_default();
        let command = ctx.command("apiKeyRevoke", &json!({ "id": id }));
        let (api_key, user_errors) = match ctx.services().auth.api_keys.revoke(command, ctx.origin(), id).await {
            Ok(record) => (Some(ApiKey(record)), Vec::new()),
            Err(error @ ApiKeyError::NotFound) => {
                (None, vec![AccessUserError::new(AccessErrorCode::NotFound, "id", &error)])
            }
            Err(error) => return Err(ApiError::from(error).into()),
        };
        Ok(ApiKeyRevokePayload { api_key, user_errors })
    }
}

fn draft(input: ApiKeyCreateInput) -> ApiKeyDraft {
    let ApiKeyCreateInput { name, subject, role, expires_at } = input;
    ApiKeyDraft { name, subject: subject.into(), role: role.into(), expires_at: expires_at.map(|end| end.0) }
}

pub(crate) struct ApiKey(ApiKeyRecord);

/// A key with which a program signs in. Its text is nowhere.
#[Object(directive = Inherit::apply())]
impl ApiKey {
    /// Its id: `key_` and the part of the key's text that is no secret.
    async fn id(&self) -> ID {
        ID(format!("key_{}", self.0.id))
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Who its bearer is.
    async fn subject(&self) -> &str {
        &self.0.subject
    }

    /// What its bearer may do.
    async fn role(&self) -> RequiredRole {
        self.0.role.into()
    }

    /// The subject who made it.
    async fn created_by(&self) -> &str {
        &self.0.created_by
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When it ends; null when it does not.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime)
    }

    /// When it was revoked; null when it was not.
    async fn revoked_at(&self) -> Option<DateTime> {
        self.0.revoked_at.map(DateTime)
    }

    /// The subject who revoked it; null when nobody did.
    async fn revoked_by(&self) -> Option<&str> {
        self.0.revoked_by.as_deref()
    }
}

pub(crate) struct ApiKeyConnection(ApiKeyPage);

/// Some API keys, newest first.
#[Object(directive = Inherit::apply())]
impl ApiKeyConnection {
    /// The keys, each with its place.
    async fn edges(&self) -> Rows<ApiKeyEdge> {
        self.0.keys.iter().cloned().map(|(place, record)| ApiKeyEdge { place, record }).collect()
    }

    /// The keys.
    async fn nodes(&self) -> Rows<ApiKey> {
        self.0.keys.iter().map(|(_, record)| ApiKey(record.clone())).collect()
    }

    /// Whether there are more, and after what.
    async fn page_info(&self) -> PageInfo {
        let end_cursor = self.0.keys.last().map(|(place, _)| cursor_of(*place));
        PageInfo { has_next_page: self.0.more, end_cursor }
    }
}

pub(crate) struct ApiKeyEdge {
    place: ApiKeyPlace,
    record: ApiKeyRecord,
}

/// An API key and its place.
#[Object(directive = Inherit::apply())]
impl ApiKeyEdge {
    /// Pass it as `after` to go on after this key. It is not to be taken apart.
    async fn cursor(&self) -> String {
        cursor_of(self.place)
    }

    /// The key.
    async fn node(&self) -> ApiKey {
        ApiKey(self.record.clone())
    }
}

const LIST: &str = "apiKeys";

fn cursor_of(place: ApiKeyPlace) -> String {
    encode(LIST, place.0.unsigned_abs())
}

fn place_of(cursor: &str) -> Option<ApiKeyPlace> {
    decode(LIST, cursor).and_then(|number| i64::try_from(number).ok()).map(ApiKeyPlace)
}
