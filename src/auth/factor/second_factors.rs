//! Who has a second factor, and who has shown it.
//!
//! Whatever a code is good for happens in the transaction that uses it up, under the subject's lock: of two requests that
//! show the same code, one gets something. Attempts are drawn for before anything is compared.

use std::sync::Arc;

use metrics::counter;
use serde_json::{Value, json};

use super::{
    CodeError, EnrolledAt, FactorError, IssuedRecoveryCode, RecoveryCodes, Step, StepUp, StepUpToken, TotpSeal,
    TotpSecret, store,
};
use crate::{
    auth::{
        attempts::{Attempts, TooMany},
        changes::{Changes, Deed},
        revocation::RevocationList,
    },
    config::{AuthConfig, SecondFactor},
    events::{Command, Work},
    model::{Clock, Origin, Principal, Timestamp, is_subject},
    secrets::{MasterKey, ShownOnce},
    store::Database,
};

/// What authenticator apps show beside the subject.
const ISSUER: &str = "Tidegate";

/// A secret for an authenticator app, which counts once a code of it was shown.
pub struct Enrolment {
    /// As one types it.
    pub secret: ShownOnce,
    /// As a QR code holds it.
    pub uri: ShownOnce,
}

/// A second factor was shown.
pub struct SteppedUp {
    /// What proves it for a short while.
    pub token: StepUpToken,
    /// How many recovery codes are left.
    pub recovery_codes_left: usize,
}

/// All second factors. Clones share everything.
#[derive(Debug, Clone)]
pub struct SecondFactors(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    mode: SecondFactor,
    changes: Changes,
    attempts: Attempts,
    log: Database,
    clock: Clock,
    step_up: StepUp,
    seal: TotpSeal,
    recovery: RecoveryCodes,
}

/// What [`SecondFactors`] are made of.
pub(in crate::auth) struct SecondFactorParts<'a> {
    pub(in crate::auth) changes: Changes,
    pub(in crate::auth) attempts: Attempts,
    pub(in crate::auth) log: Database,
    pub(in crate::auth) clock: Clock,
    pub(in crate::auth) master_key: &'a MasterKey,
    pub(in crate::auth) revocations: RevocationList,
}

/// What a code turned out to be.
enum Proof {
    App,
    Recovery,
}

impl SecondFactors {
    pub(in crate::auth) fn new(config: &AuthConfig, parts: SecondFactorParts<'_>) -> Self {
        let SecondFactorParts { changes, attempts, log, clock, master_key, revocations } = parts;
        Self(Arc::new(Shared {
            mode: config.second_factor,
            changes,
            attempts,
            log,
            clock,
            step_up: StepUp::new(config, master_key, revocations),
            seal: TotpSeal::new(master_key),
            recovery: RecoveryCodes::new(master_key),
        }))
    }

    /// Whether this subject has a second factor that counts. Always asks the database.
    pub async fn is_enrolled(&self, subject: &str) -> Result<bool, FactorError> {
        Ok(self.enrolled(subject).await?.is_some())
    }

    async fn enrolled(&self, subject: &str) -> Result<Option<EnrolledAt>, FactorError> {
        let log = &self.0.log;
        Ok(log.within(store::enrolled(log, subject)).await?)
    }

    /// Whether this caller may now do what needs a second factor, as `auth.second_factor` says. If that cannot be told, it
    /// may not.
    pub async fn demand(
        &self,
        principal: &Principal,
        step_up_token: Option<&str>,
        now: Timestamp,
    ) -> Result<(), FactorError> {
        let outcome = self.decide(principal, step_up_token, now).await;
        let label = outcome.as_ref().map_or_else(FactorError::label, |()| "met");
        counter!("tidegate_auth_factor_demands_total", "outcome" => label).increment(1);
        outcome
    }

    async fn decide(&self, principal: &Principal, token: Option<&str>, now: Timestamp) -> Result<(), FactorError> {
        let Shared { mode, step_up, .. } = &*self.0;
        let subject = &*principal.subject;
        if *mode == SecondFactor::Off {
            return Ok(());
        }
        match self.enrolled(subject).await? {
            Some(enrolled) => shown(step_up, token, subject, enrolled, now),
            None if *mode == SecondFactor::Required => Err(FactorError::EnrolmentNeeded),
            None => Ok(()),
        }
    }

    /// Gives the subject of the command a new secret, which counts once a code of it was [confirmed](Self::confirm). It
    /// takes the place of another one that does not count yet. Whoever has one that counts must have stepped up, and the
    /// old one counts until then.
    pub async fn begin_enrolment(
        &self,
        command: Command,
        origin: &Origin,
        step_up_token: Option<&str>,
    ) -> Result<Enrolment, FactorError> {
        let Shared { changes, seal, step_up, clock, .. } = &*self.0;
        let subject = Arc::clone(&command.user_id);
        let began = async {
            let mut work = changes.begin_once(command, &[lock(&subject)]).await?;
            let now = work.now();
            let (log, transaction) = work.transaction();
            if let Some(enrolled) = store::find(log, transaction, &subject).await?.enrolled {
                shown(step_up, step_up_token, &subject, enrolled, clock.now())?;
            }
            let secret = TotpSecret::generate();
            store::put_pending(log, transaction, &subject, &seal.seal(&secret, &subject), now).await?;
            changes.commit(work, origin, &deed("second_factor.begin", &subject, Value::Null), Value::Null).await?;
            Ok(Enrolment { secret: secret.base32(), uri: secret.uri(ISSUER, &subject) })
        };
        changes.within(began).await
    }

    /// Lets the newest secret count, of which this is a code, and gives recovery codes in place of all earlier ones.
    pub async fn confirm(&self, command: Command, origin: &Origin, code: &str) -> Result<Vec<ShownOnce>, FactorError> {
        let Shared { changes, recovery, .. } = &*self.0;
        let subject = Arc::clone(&command.user_id);
        let confirmed = async {
            self.draw(&subject, origin).await?;
            let mut work = changes.begin_once(command.clone(), &[lock(&subject)]).await?;
            self.confirm_within(&mut work, &subject, code).await?;
            let issued = recovery.issue(&subject);
            let hashes = issued.each_ref().map(|code| code.hash);
            let (log, transaction) = work.transaction();
            store::put_recovery_codes(log, transaction, &subject, &hashes).await?;
            let deed = deed("second_factor.confirm", &subject, Value::Null);
            changes.commit(work, origin, &deed, Value::Null).await?;
            Ok(issued.into_iter().map(|IssuedRecoveryCode { text, .. }| text).collect())
        };
        let confirmed = changes.within(confirmed).await;
        self.tell("second_factor.confirm", &command, origin, confirmed.as_ref().map(|_| ())).await;
        confirmed
    }

    /// Takes a code of the app, or a recovery code, and gives a step-up token.
    pub async fn step_up(&self, command: Command, origin: &Origin, code: &str) -> Result<SteppedUp, FactorError> {
        let Shared { changes, clock, step_up, .. } = &*self.0;
        let subject = Arc::clone(&command.user_id);
        let stepped_up = async {
            self.draw(&subject, origin).await?;
            let mut work = changes.begin_once(command.clone(), &[lock(&subject)]).await?;
            let (enrolled, proof, recovery_codes_left) = self.prove_within(&mut work, &subject, code).await?;
            let by = match proof {
                Proof::App => "app",
                Proof::Recovery => "recovery_code",
            };
            let metadata = json!({ "by": by, "recoveryCodesLeft": recovery_codes_left });
            let deed = deed("second_factor.step_up", &subject, metadata);
            changes.commit(work, origin, &deed, Value::Null).await?;
            Ok(SteppedUp { token: step_up.issue(&subject, enrolled, clock.now()), recovery_codes_left })
        };
        let stepped_up = changes.within(stepped_up).await;
        self.tell("second_factor.step_up", &command, origin, stepped_up.as_ref().map(|_| ())).await;
        stepped_up
    }

    /// Takes a subject's second factor away. Whoever does it must have stepped up, also where it is another's factor.
    pub async fn disable(
        &self,
        command: Command,
        origin: &Origin,
        subject: &str,
        step_up_token: Option<&str>,
    ) -> Result<(), FactorError> {
        let Shared { changes, step_up, clock, .. } = &*self.0;
        let by = self.enrolled(&command.user_id).await?.ok_or(FactorError::EnrolmentNeeded)?;
        shown(step_up, step_up_token, &command.user_id, by, clock.now())?;
        // Nobody has enrolled as what no token can name, and PostgreSQL takes no text with a NUL in it.
        if !is_subject(subject) {
            return Err(FactorError::NotEnrolled);
        }
        let disabled = async {
            let mut work = changes.begin_once(command, &[lock(subject)]).await?;
            let (log, transaction) = work.transaction();
            if store::find(log, transaction, subject).await?.secret.is_none() {
                return Err(FactorError::NotEnrolled);
            }
            store::delete(log, transaction, subject).await?;
            changes.commit(work, origin, &deed("second_factor.disable", subject, Value::Null), Value::Null).await?;
            Ok(())
        };
        changes.within(disabled).await
    }

    async fn draw(&self, subject: &str, origin: &Origin) -> Result<(), FactorError> {
        let drawn = self.0.attempts.code(subject, origin.address).await;
        drawn.map_err(|TooMany { retry_after }| FactorError::TooManyAttempts { retry_after })
    }

    async fn confirm_within(&self, work: &mut Work, subject: &str, code: &str) -> Result<(), FactorError> {
        let now = work.now();
        let (log, transaction) = work.transaction();
        let pending = store::find(log, transaction, subject).await?.pending.ok_or(FactorError::NothingPending)?;
        let step = self.open(&pending, subject)?.verify(code, now, None)?;
        if store::confirm(log, transaction, subject, step, now).await? {
            Ok(())
        } else {
            Err(FactorError::NothingPending)
        }
    }

    /// Uses the code up. Says of which enrolment it is, and how many recovery codes are left.
    async fn prove_within(
        &self,
        work: &mut Work,
        subject: &str,
        code: &str,
    ) -> Result<(EnrolledAt, Proof, usize), FactorError> {
        let now = work.now();
        let (log, transaction) = work.transaction();
        let kept = store::find(log, transaction, subject).await?;
        let (sealed, enrolled) = kept.secret.zip(kept.enrolled).ok_or(FactorError::NotEnrolled)?;
        let secret = self.open(&sealed, subject)?;
        let left = store::recovery_codes(log, transaction, subject).await?;
        let (numbers, hashes): (Vec<i32>, Vec<Vec<u8>>) = left.into_iter().unzip();
        let (of_app, recovery) = (secret.verify(code, now, kept.last_used), &self.0.recovery);
        // A code of the app has six digits, a recovery code ten letters: none is ever both.
        let used: Result<Step, usize> = match (of_app, recovery.find(code, subject, &hashes)) {
            (Ok(step), _) => Ok(step),
            (Err(_), Some(at)) => Err(at),
            (Err(error), None) => return Err(error.into()),
        };
        let (proof, was_unused) = match used {
            Ok(step) => (Proof::App, store::use_step(log, transaction, subject, step).await?),
            Err(at) => (Proof::Recovery, store::use_recovery_code(log, transaction, subject, numbers[at], now).await?),
        };
        if !was_unused {
            return Err(CodeError::Used.into());
        }
        Ok((enrolled, proof, hashes.len() - usize::from(used.is_err())))
    }

    fn open(&self, sealed: &[u8], subject: &str) -> Result<TotpSecret, FactorError> {
        self.0.seal.open(sealed, subject).map_err(|_| FactorError::Unreadable)
    }

    /// Counts an attempt, and tells of one that was refused.
    async fn tell(&self, action: &'static str, command: &Command, origin: &Origin, outcome: Result<(), &FactorError>) {
        let label = outcome.map_or_else(FactorError::label, |()| "accepted");
        counter!("tidegate_auth_factor_attempts_total", "outcome" => label).increment(1);
        if let Err(FactorError::Code(_) | FactorError::TooManyAttempts { .. }) = outcome {
            let deed = deed(action, &command.user_id, json!({ "refused": label }));
            self.0.changes.refused(command, origin, &deed).await;
        }
    }
}

/// Whether this subject has of late shown the second factor that it enrolled then.
fn shown(
    step_up: &StepUp,
    token: Option<&str>,
    subject: &str,
    enrolled: EnrolledAt,
    now: Timestamp,
) -> Result<(), FactorError> {
    Ok(step_up.check(token.ok_or(FactorError::StepUpNeeded)?, subject, enrolled, now)?)
}

fn lock(subject: &str) -> String {
    format!("factor:{subject}")
}

fn deed(action: &'static str, subject: &str, metadata: Value) -> Deed {
    Deed { action, resource: format!("subject:{subject}"), metadata }
}
