//! One spelling for a JSON value, so that it can be hashed: databases keep values, not their spelling.

use serde_json::Value;

/// The value with the names of every object in order, and without spaces.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            enclosed('{', '}', fields, text, |(name, value), text| {
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                write(value, text);
            });
        }
        Value::Array(items) => enclosed('[', ']', items, text, write),
        plain => text.push_str(&plain.to_string()),
    }
}

fn enclosed<T>(
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    text: &mut String,
    write: impl Fn(T, &mut String),
) {
    text.push(open);
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        write(item, text);
    }
    text.push(close);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_names_does_not_matter() {
        let (one, other) =
            (json!({"b": [1, {"d": "\"", "c": null}], "a": true}), r#"{"a":true,"b":[1,{"c":null,"d":"\""}]}"#);
        assert_eq!(canonical(&one), other);
        assert_eq!(canonical(&serde_json::from_str(other).unwrap()), other);
    }
}
