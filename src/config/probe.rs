//! Asks a setting's type what it wants to read, so that the listing knows kinds and secrets by type and not by name.

use std::{cell::RefCell, iter};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        Error, IntoDeserializer, Visitor,
        value::{Error as Stopped, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

use super::Secret;

/// What kind of value a setting takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Any text, or text in a form that the setting's description names.
    #[default]
    Text,
    /// A text that is never shown.
    Secret,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(Vec<&'static str>),
    /// Several values.
    List(Box<Kind>),
    /// Named values.
    Table(Box<Kind>),
}

impl Kind {
    /// Whether the value is never shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        match self {
            Self::Secret => true,
            Self::List(inner) | Self::Table(inner) => inner.is_secret(),
            _ => false,
        }
    }
}

/// The kind of the setting at `key` in the layer type `L`.
pub(super) fn kind_of<L: for<'de> Deserialize<'de>>(key: &str) -> Kind {
    let found = RefCell::new(Kind::default());
    let path: Vec<&str> = key.split('.').collect();
    // The probe has no value to give: it learns the kind and then stops, so there is never a result.
    let _ = L::deserialize(Probe { path: &path, found: &found });
    found.into_inner()
}

#[derive(Clone, Copy)]
struct Probe<'a> {
    /// The sections still to enter; empty at the value itself.
    path: &'a [&'a str],
    found: &'a RefCell<Kind>,
}

impl Probe<'_> {
    fn stop<T>(self, kind: Kind) -> Result<T, Stopped> {
        *self.found.borrow_mut() = kind;
        Err(Stopped::custom("probed"))
    }

    /// Lets the type read one value inside, then wraps what was learned from that.
    fn wrap<T>(self, outcome: Result<T, Stopped>, wrap: fn(Box<Kind>) -> Kind) -> Result<T, Stopped> {
        let inner = self.found.take();
        *self.found.borrow_mut() = wrap(Box::new(inner));
        outcome
    }
}

impl<'a> IntoDeserializer<'_, Stopped> for Probe<'a> {
    type Deserializer = Probe<'a>;

    fn into_deserializer(self) -> Probe<'a> {
        self
    }
}

macro_rules! stop_with {
    ($kind:expr => $($deserialize:ident)*) => {
        $(fn $deserialize<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stopped> {
            self.stop($kind)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stopped;

    stop_with!(Kind::Integer => deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64);
    stop_with!(Kind::Number => deserialize_f32 deserialize_f64);
    stop_with!(Kind::Boolean => deserialize_bool);
    stop_with!(Kind::Text => deserialize_any);

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Stopped> {
        if name == Secret::TYPE_NAME { self.stop(Kind::Secret) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        let outcome = visitor.visit_seq(SeqDeserializer::new(iter::once(self)));
        self.wrap(outcome, Kind::List)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        let outcome = visitor.visit_map(MapDeserializer::new(iter::once(("name", self))));
        self.wrap(outcome, Kind::Table)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        match self.path {
            [] => self.stop(Kind::Table(Box::default())),
            [section, path @ ..] => {
                visitor.visit_map(MapDeserializer::new(iter::once((*section, Probe { path, ..self }))))
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Stopped> {
        self.stop(Kind::Choice(variants.to_vec()))
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}
