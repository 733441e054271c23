//! The catalogue as callers meet it, and schemas as servers send them, harmless or not.

mod hostile;
mod resolving;
mod schemas;
