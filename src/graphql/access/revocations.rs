//! `tokenRevoke` and `subjectTokensRevoke`.

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};
use serde_json::json;

use super::problems::AccessUserError;
use crate::{
    auth::{RevocationError, TokenName},
    graphql::{
        context::ContextExt,
        directives::{RequiredRole, auth},
        error::ApiError,
        scalars::DateTime,
    },
    model::{FieldError, Timestamp},
};

/// Names the token to revoke: by its `jti` or by its text, one of them.
#[derive(InputObject)]
pub(crate) struct TokenRevokeInput {
    /// The token's claim `jti`.
    jti: Option<String>,
    /// The token itself. It is not kept.
    token: Option<String>,
    /// When the token ends. Needed with `jti`; a token says it itself.
    expires_at: Option<DateTime>,
}

/// What was revoked, or why nothing was.
#[derive(SimpleObject)]
pub(crate) struct TokenRevokePayload {
    /// What holds now; null when nothing was revoked.
    revocation: Option<TokenRevocation>,
    /// What was wrong with the input.
    user_errors: Vec<AccessUserError>,
}

/// A token that counts no more.
#[derive(SimpleObject)]
pub(crate) struct TokenRevocation {
    /// When the token ends by itself, and is forgotten.
    expires_at: DateTime,
}

/// Names the subject whose tokens are revoked.
#[derive(InputObject)]
pub(crate) struct SubjectTokensRevokeInput {
    /// The subject, 1 to 256 characters.
    subject: String,
    /// Tokens issued before this moment count no more; without it, before now.
    issued_before: Option<DateTime>,
}

/// What was revoked, or why nothing was.
#[derive(SimpleObject)]
pub(crate) struct SubjectTokensRevokePayload {
    /// What holds now; null when nothing was revoked.
    revocation: Option<SubjectTokensRevocation>,
    /// What was wrong with the input.
    user_errors: Vec<AccessUserError>,
}

/// A subject whose older tokens count no more.
#[derive(SimpleObject)]
pub(crate) struct SubjectTokensRevocation {
    /// The subject.
    subject: String,
    /// Tokens issued before this moment count no more. It only ever moves on.
    issued_before: DateTime,
}

#[derive(Default)]
pub(crate) struct RevocationsMutation;

#[Object]
impl RevocationsMutation {
    /// Revokes a token for good. This node refuses it at once, others after `auth.revocation_poll_ms`.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn token_revoke(&self, ctx: &Context<'_>, input: TokenRevokeInput) -> Result<TokenRevokePayload> {
        let TokenRevokeInput { jti, token, expires_at } = input;
        let expires_at = expires_at.map(|end| end.0);
        // Only a digest of the arguments is kept.
        let arguments = json!({ "jti": jti, "token": token, "expiresAt": expires_at });
        let (revocation, user_errors) = match name(jti, token) {
            Ok(name) => told(revoke_token(ctx, &name, expires_at, &arguments).await)?,
            Err(problem) => (None, AccessUserError::all(vec![problem])),
        };
        let revocation = revocation.map(|expires_at| TokenRevocation { expires_at });
        Ok(TokenRevokePayload { revocation, user_errors })
    }

    /// Revokes all tokens of a subject that were issued before a moment, for good. Its API keys are revoked by themselves.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn subject_tokens_revoke(
        &self,
        ctx: &Context<'_>,
        input: SubjectTokensRevokeInput,
    ) -> Result<SubjectTokensRevokePayload> {
        let SubjectTokensRevokeInput { subject, issued_before } = input;
        let before = issued_before.map(|moment| moment.0);
        let command = ctx.command("subjectTokensRevoke", &json!({ "subject": subject, "issuedBefore": before }));
        let revocations = &ctx.services().auth.revocations;
        let revoked = revocations.revoke_subject(command, ctx.origin(), &subject, before).await;
        let (moment, user_errors) = told(revoked)?;
        let revocation = moment.map(|issued_before| SubjectTokensRevocation { subject, issued_before });
        Ok(SubjectTokensRevokePayload { revocation, user_errors })
    }
}

fn name(jti: Option<String>, token: Option<String>) -> Result<TokenName, FieldError> {
    match (jti, token) {
        (Some(jti), None) => Ok(TokenName::Jti(jti)),
        (None, Some(token)) => Ok(TokenName::Text(token)),
        _ => Err(FieldError::new(&["input"], "must have either jti or token, and not both")),
    }
}

async fn revoke_token(
    ctx: &Context<'_>,
    name: &TokenName,
    expires_at: Option<Timestamp>,
    arguments: &serde_json::Value,
) -> Result<Timestamp, RevocationError> {
    let command = ctx.command("tokenRevoke", arguments);
    ctx.services().auth.revocations.revoke_token(command, ctx.origin(), name, expires_at).await
}

/// The moment of what was revoked, or what was wrong with the input.
fn told(revoked: Result<Timestamp, RevocationError>) -> Result<(Option<DateTime>, Vec<AccessUserError>), ApiError> {
    match revoked {
        Ok(moment) => Ok((Some(DateTime(moment)), Vec::new())),
        Err(RevocationError::Invalid(problems)) => Ok((None, AccessUserError::all(problems))),
        Err(error) => Err(error.into()),
    }
}
