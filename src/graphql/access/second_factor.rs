//! `secondFactor`, `secondFactorEnroll`, `secondFactorConfirm`, `stepUp` and `secondFactorDisable`.

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};
use serde_json::Value;

use super::problems::{AccessErrorCode, AccessUserError};
use crate::{
    auth::{CodeError, FactorError, SteppedUp},
    graphql::{
        context::ContextExt,
        directives::{Inherit, Private, RequiredRole, auth},
        error::ApiError,
        scalars::{DateTime, int},
    },
    secrets::ShownOnce,
};

/// The caller's second factor.
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct SecondFactor {
    /// Whether the caller has one that counts.
    enrolled: bool,
}

#[derive(Default)]
pub(crate) struct SecondFactorQuery;

#[Object]
impl SecondFactorQuery {
    /// The caller's second factor, which proves, beside a token, that its bearer is there.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    async fn second_factor(&self, ctx: &Context<'_>) -> Option<Result<SecondFactor>> {
        let enrolled = ctx.services().auth.second_factors.is_enrolled(&ctx.caller().subject).await;
        Some(enrolled.map(|enrolled| SecondFactor { enrolled }).map_err(|error| ApiError::from(error).into()))
    }
}

/// What to enrol.
#[derive(InputObject)]
pub(crate) struct SecondFactorEnrollInput {
    /// The kind of second factor.
    #[graphql(default)]
    kind: SecondFactorKind,
}

/// Kinds of second factors.
#[derive(async_graphql::Enum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SecondFactorKind {
    /// Codes of an authenticator app (RFC 6238).
    #[default]
    Totp,
}

/// A secret for the caller's authenticator app.
#[derive(SimpleObject)]
pub(crate) struct SecondFactorEnrollPayload {
    /// The secret, which counts once a code of it was confirmed; null when there is none.
    enrolment: Option<SecondFactorEnrolment>,
    /// What was wrong with the input.
    user_errors: Vec<AccessUserError>,
}

/// A secret for an authenticator app, shown this once.
#[derive(SimpleObject)]
pub(crate) struct SecondFactorEnrolment {
    /// The secret in base 32, to be typed.
    secret: String,
    /// The address to be shown as a QR code, `otpauth://totp/…`.
    uri: String,
}

/// Proves that the secret has arrived.
#[derive(InputObject)]
pub(crate) struct SecondFactorConfirmInput {
    /// Six digits that the authenticator app shows now.
    code: String,
}

/// Whether the second factor counts now.
#[derive(SimpleObject)]
pub(crate) struct SecondFactorConfirmPayload {
    /// The caller's second factor; null when nothing was confirmed.
    second_factor: Option<SecondFactor>,
    /// Ten codes for whoever has lost their app, each of which counts once. They are shown this once and take the place of
    /// all earlier ones; empty when nothing was confirmed.
    recovery_codes: Vec<String>,
    /// What was wrong with the input.
    user_errors: Vec<AccessUserError>,
}

/// Shows the second factor.
#[derive(InputObject)]
pub(crate) struct StepUpInput {
    /// Six digits that the authenticator app shows now, or a recovery code.
    code: String,
}

/// What proves the second factor for a short while.
#[derive(SimpleObject)]
pub(crate) struct StepUpPayload {
    /// The proof; null when there is none.
    step_up: Option<StepUp>,
    /// What was wrong with the input.
    user_errors: Vec<AccessUserError>,
}

/// Proof of a second factor, shown this once.
#[derive(SimpleObject)]
pub(crate) struct StepUp {
    /// Send it in the header `X-Step-Up-Token`, or in `extensions.stepUpToken`.
    token: String,
    /// When it ends.
    expires_at: DateTime,
    /// How many recovery codes the caller has left.
    recovery_codes_left: i32,
}

/// Names the subject whose second factor is taken away.
#[derive(InputObject)]
pub(crate) struct SecondFactorDisableInput {
    /// The subject.
    subject: String,
}

/// Whose second factor was taken away, or why none was.
#[derive(SimpleObject)]
pub(crate) struct SecondFactorDisablePayload {
    /// The subject, who may enrol anew; null when nothing was done.
    disabled_subject: Option<String>,
    /// What was wrong with the input.
    user_errors: Vec<AccessUserError>,
}

#[derive(Default)]
pub(crate) struct SecondFactorMutation;

#[Object]
impl SecondFactorMutation {
    /// Gives the caller a secret for an authenticator app, shown once. It counts once a code of it was confirmed. Whoever
    /// has a second factor already must have stepped up.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn second_factor_enroll(
        &self,
        ctx: &Context<'_>,
        input: SecondFactorEnrollInput,
    ) -> Result<SecondFactorEnrollPayload> {
        let SecondFactorKind::Totp = input.kind;
        let command = ctx.command("secondFactorEnroll", &Value::Null);
        let factors = &ctx.services().auth.second_factors;
        let begun = factors.begin_enrolment(command, ctx.origin(), ctx.step_up()).await.map_err(ApiError::from)?;
        let enrolment = SecondFactorEnrolment { secret: begun.secret.into_text(), uri: begun.uri.into_text() };
        Ok(SecondFactorEnrollPayload { enrolment: Some(enrolment), user_errors: Vec::new() })
    }

    /// Lets the caller's newest secret count, of which `code` is one, and gives ten recovery codes, shown once.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn second_factor_confirm(
        &self,
        ctx: &Context<'_>,
        input: SecondFactorConfirmInput,
    ) -> Result<SecondFactorConfirmPayload> {
        let command = ctx.command("secondFactorConfirm", &Value::Null);
        let confirmed = ctx.services().auth.second_factors.confirm(command, ctx.origin(), &input.code).await;
        let (codes, user_errors) = told(confirmed, "code")?;
        Ok(SecondFactorConfirmPayload {
            second_factor: codes.is_some().then_some(SecondFactor { enrolled: true }),
            recovery_codes: codes.into_iter().flatten().map(ShownOnce::into_text).collect(),
            user_errors,
        })
    }

    /// Exchanges a code of the caller's second factor for a step-up token, shown once and good for
    /// `auth.step_up_seconds`. After too many codes it fails with `RATE_LIMITED`.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn step_up(&self, ctx: &Context<'_>, input: StepUpInput) -> Result<StepUpPayload> {
        let command = ctx.command("stepUp", &Value::Null);
        let stepped_up = ctx.services().auth.second_factors.step_up(command, ctx.origin(), &input.code).await;
        let (stepped_up, user_errors) = told(stepped_up, "code")?;
        let step_up = stepped_up.map(|SteppedUp { token, recovery_codes_left }| StepUp {
            token: token.text.into_text(),
            expires_at: DateTime(token.expires_at),
            recovery_codes_left: int(recovery_codes_left),
        });
        Ok(StepUpPayload { step_up, user_errors })
    }

    /// Takes a subject's second factor and recovery codes away, for whoever has lost theirs. The caller must have stepped
    /// up, whatever `auth.second_factor` says.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn second_factor_disable(
        &self,
        ctx: &Context<'_>,
        input: SecondFactorDisableInput,
    ) -> Result<SecondFactorDisablePayload> {
        let (command, subject) = (ctx.command("secondFactorDisable", &Value::Null), input.subject);
        let factors = &ctx.services().auth.second_factors;
        let disabled = factors.disable(command, ctx.origin(), &subject, ctx.step_up()).await;
        let (disabled, user_errors) = told(disabled, "subject")?;
        Ok(SecondFactorDisablePayload { disabled_subject: disabled.map(|()| subject), user_errors })
    }
}

/// What came of it, or what is wrong with the input's `field`.
fn told<T>(outcome: Result<T, FactorError>, field: &str) -> Result<(Option<T>, Vec<AccessUserError>), ApiError> {
    let code = match &outcome {
        Err(FactorError::Code(CodeError::Wrong)) => AccessErrorCode::WrongCode,
        Err(FactorError::Code(CodeError::Used)) => AccessErrorCode::UsedCode,
        Err(FactorError::NotEnrolled | FactorError::NothingPending) => AccessErrorCode::NotEnrolled,
        _ => return Ok((Some(outcome?), Vec::new())),
    };
    let problem = outcome.err().map(|error| AccessUserError::new(code, field, &error));
    Ok((None, problem.into_iter().collect()))
}
