//! A value as somebody gave it, read as whatever type its setting has.
//!
//! Text from the environment and from `--set` has no type of its own: the field's type decides how it is read. Values
//! from a file have one and must match. Refusals say what was expected and never repeat the value, which may be secret.

use std::{any::type_name, fmt, iter, str::FromStr};

use serde::{
    Deserializer,
    de::{
        self, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

/// A value as given.
#[derive(Debug, Clone)]
pub(super) enum Given {
    /// From the environment or a flag.
    Text(String),
    /// From a file.
    Toml(toml::Value),
    /// A value inside the section of this name.
    Within(String, Box<Given>),
}

/// Why a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Something else was expected.
    Expected(String),
    /// The type has a reason of its own.
    Reason(String),
}

impl Given {
    /// The value at the end of a dotted path.
    pub(super) fn at(self, path: &str) -> Self {
        path.rsplit('.').fold(self, |inner, section| Self::Within(section.to_owned(), Box::new(inner)))
    }

    fn number<T: FromStr>(&self) -> Result<T, Refusal> {
        let text = match self {
            Self::Text(text) => text.trim().replace('_', ""),
            Self::Toml(value @ (toml::Value::Integer(_) | toml::Value::Float(_))) => value.to_string(),
            _ => String::new(),
        };
        text.parse().map_err(|_| {
            Refusal::expected(match type_name::<T>() {
                "u8" => "a whole number from 0 to 255",
                "u16" => "a whole number from 0 to 65535",
                "u32" => "a whole number from 0 to 4294967295",
                "u64" | "usize" => "a whole number, not negative",
                "f32" | "f64" => "a number",
                _ => "a whole number",
            })
        })
    }

    fn boolean(&self) -> Result<bool, Refusal> {
        match self {
            Self::Toml(toml::Value::Boolean(value)) => Ok(*value),
            Self::Text(text) => text.trim().parse().map_err(|_| Refusal::expected("true or false")),
            _ => Err(Refusal::expected("true or false")),
        }
    }

    fn text<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Refusal> {
        let expected = in_plain_words(&visitor);
        match self {
            Self::Text(text) | Self::Toml(toml::Value::String(text)) => {
                // The visitor's own complaint may quote the value; its expectation cannot.
                visitor.visit_str::<Refusal>(text).map_err(|_| Refusal::Expected(expected))
            }
            _ => Err(Refusal::Expected(expected)),
        }
    }

    fn list(self) -> Result<Vec<Self>, Refusal> {
        match self {
            Self::Text(text) if !text.trim_start().starts_with('[') => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(items.map(|item| Self::Text(item.to_owned())).collect())
            }
            other => match other.inline() {
                Some(toml::Value::Array(values)) => Ok(values.into_iter().map(Self::Toml).collect()),
                _ => Err(Refusal::expected("a list")),
            },
        }
    }

    fn table(self) -> Result<Vec<(String, Self)>, Refusal> {
        match self {
            Self::Within(name, inner) => Ok(vec![(name, *inner)]),
            other => match other.inline() {
                Some(toml::Value::Table(table)) => {
                    Ok(table.into_iter().map(|(name, value)| (name, Self::Toml(value))).collect())
                }
                _ => Err(Refusal::expected("a table such as { name = value }")),
            },
        }
    }

    /// Lists and tables can be written as in a file, also where they come as text.
    fn inline(self) -> Option<toml::Value> {
        match self {
            Self::Toml(value) => Some(value),
            Self::Text(text) => format!("value = {text}").parse::<toml::Table>().ok()?.remove("value"),
            Self::Within(..) => None,
        }
    }
}

/// As `--set` would take it: texts bare, lists separated by commas.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Toml(toml::Value::String(text)) => f.write_str(text),
            Self::Toml(toml::Value::Array(values))
                if values.iter().all(|value| value.is_str() || value.is_integer()) =>
            {
                for (separator, value) in iter::once("").chain(iter::repeat(",")).zip(values) {
                    write!(f, "{separator}{}", Self::Toml(value.clone()))?;
                }
                Ok(())
            }
            Self::Toml(value) => write!(f, "{value}"),
            Self::Within(_, inner) => inner.fmt(f),
        }
    }
}

/// What the libraries' types say they expect, in the operator's words.
fn in_plain_words(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "a string" => "a text".to_owned(),
        "socket address" => "an address and port, as in 127.0.0.1:8080".to_owned(),
        "a string representing an URL" => "a URL, as in https://example.com".to_owned(),
        "IPv4 or IPv6 network address" => "a network, as in 10.0.0.0/8".to_owned(),
        other => other.to_owned(),
    }
}

impl Refusal {
    fn expected(text: &str) -> Self {
        Self::Expected(text.to_owned())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::Reason(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Reason(reason.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Expected(expected.join(" or "))
    }
}

impl IntoDeserializer<'_, Refusal> for Given {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! numbers {
    ($($deserialize:ident $visit:ident $number:ty,)*) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            visitor.$visit(self.number::<$number>()?)
        })*
    };
}

impl<'de> Deserializer<'de> for Given {
    type Error = Refusal;

    numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.text(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self {
            Self::Toml(toml::Value::Boolean(_)) => self.deserialize_bool(visitor),
            Self::Toml(toml::Value::Integer(_)) => self.deserialize_i64(visitor),
            Self::Toml(toml::Value::Float(_)) => self.deserialize_f64(visitor),
            Self::Toml(toml::Value::Array(_)) => self.deserialize_seq(visitor),
            Self::Toml(toml::Value::Table(_)) | Self::Within(..) => self.deserialize_map(visitor),
            Self::Toml(toml::Value::Datetime(time)) => visitor.visit_string(time.to_string()),
            Self::Text(_) | Self::Toml(toml::Value::String(_)) => self.text(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_seq(SeqDeserializer::new(self.list()?.into_iter()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_map(MapDeserializer::new(self.table()?.into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match &self {
            Self::Text(text) | Self::Toml(toml::Value::String(text)) => {
                visitor.visit_enum(StrDeserializer::new(text.trim()))
            }
            _ => Err(de::Error::unknown_variant("", variants)),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::SocketAddr};

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::config::{LogFormat, Secret};

    fn text<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        T::deserialize(Given::Text(text.to_owned())).map_err(|refusal| refusal.to_string())
    }

    fn toml<T: DeserializeOwned>(value: &str) -> Result<T, String> {
        let value = Given::Text(value.to_owned()).inline().unwrap();
        T::deserialize(Given::Toml(value)).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn text_is_read_by_the_type_of_the_field() {
        assert_eq!(text(" 1_000 "), Ok(1_000_u64));
        assert_eq!(text("0.25"), Ok(0.25_f64));
        assert_eq!(text("true"), Ok(true));
        assert_eq!(text("json"), Ok(LogFormat::Json));
        assert_eq!(text("[::1]:80"), Ok(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 80))));
        assert_eq!(text("a, b,"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(text("[]"), Ok(Vec::<String>::new()));
        assert_eq!(text("{ a = 1 }"), Ok(BTreeMap::from([("a".to_owned(), 1)])));
        assert_eq!(text("s"), Ok(Some(Secret::from("s"))));
    }

    #[test]
    fn refusals_say_what_was_expected_and_not_what_was_given() {
        assert_eq!(text::<u16>("70000"), Err("expected a whole number from 0 to 65535".into()));
        assert_eq!(text::<u64>("-1"), Err("expected a whole number, not negative".into()));
        assert_eq!(text::<bool>("yes"), Err("expected true or false".into()));
        assert_eq!(text::<SocketAddr>("here"), Err("expected an address and port, as in 127.0.0.1:8080".into()));
        assert_eq!(text::<LogFormat>("xml"), Err("expected pretty or json".into()));
        assert_eq!(text::<Vec<String>>("[\"a"), Err("expected a list".into()));
        assert_eq!(toml::<Secret>("7"), Err("expected a text".into()));
    }

    #[test]
    fn values_from_a_file_must_have_the_right_type() {
        assert_eq!(toml("8080"), Ok(8_080_u16));
        assert_eq!(toml("2"), Ok(2.0_f64));
        assert_eq!(toml::<u16>("\"8080\""), Err("expected a whole number from 0 to 65535".into()));
        assert_eq!(toml::<bool>("1"), Err("expected true or false".into()));
        assert_eq!(toml::<String>("1"), Err("expected a text".into()));
        assert_eq!(toml("[\"a\"]"), Ok(vec!["a".to_owned()]));
    }
}
