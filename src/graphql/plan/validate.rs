//! The library's validation, run on its own.
//!
//! The library validates inside execution. Here a schema of the same types stops every request right after its
//! validation, so that the verdict can be kept with the plan and execution need not repeat it.

use std::sync::Arc;

use async_graphql::{
    Request, ServerError, ValidationResult,
    async_trait::async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation},
    parser::types::ExecutableDocument,
};
use futures_util::{FutureExt, future::BoxFuture};

use crate::graphql::{ErrorCode, error::Refusal};

type Check = dyn Fn(Request) -> BoxFuture<'static, Vec<ServerError>> + Send + Sync;

/// Says whether documents fit the schema.
#[derive(Clone)]
pub(crate) struct Validator(Arc<Check>);

impl Validator {
    /// A validator over a schema that was built with [`StopAfterValidation`].
    pub(crate) fn new<Q, M, S>(schema: async_graphql::Schema<Q, M, S>) -> Self
    where
        Q: async_graphql::ObjectType + 'static,
        M: async_graphql::ObjectType + 'static,
        S: async_graphql::SubscriptionType + 'static,
    {
        Self(Arc::new(move |request| {
            let schema = schema.clone();
            async move { schema.execute(request).await.errors }.boxed()
        }))
    }

    /// Validates a document whose size is known to be bounded.
    pub(crate) async fn validate(&self, document: &ExecutableDocument) -> Result<(), Refusal> {
        let mut request = Request::new("");
        request.set_parsed_query(document.clone());
        let errors = (self.0)(request).await;
        if errors.is_empty() { Ok(()) } else { Err(Refusal::many(ErrorCode::GraphqlValidationFailed, errors)) }
    }
}

/// Ends every request after its validation.
pub(crate) struct StopAfterValidation;

impl ExtensionFactory for StopAfterValidation {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Extension for StopAfterValidation {
    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        next.run(ctx).await?;
        // No errors, and yet nothing may execute.
        Err(Vec::new())
    }
}
