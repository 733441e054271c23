//! How large and how deep a value is.

use std::io;

use serde_json::Value;

/// How large a value is, of which no more is looked at than asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Values in it, itself included.
    pub(super) values: usize,
    /// Levels, where a plain value has none.
    pub(super) depth: usize,
}

impl Extent {
    /// Of a value; nothing where it exceeds `most`.
    pub(super) fn within(value: &Value, most: Self) -> Option<Self> {
        let mut extent = Self::default();
        extent.add(value, 0, most).then_some(extent)
    }

    fn add(&mut self, value: &Value, depth: usize, most: Self) -> bool {
        self.values += 1;
        self.depth = self.depth.max(depth);
        let fits = self.values <= most.values && depth <= most.depth;
        fits && match value {
            Value::Array(items) => items.iter().all(|item| self.add(item, depth + 1, most)),
            Value::Object(fields) => fields.values().all(|field| self.add(field, depth + 1, most)),
            _ => true,
        }
    }
}

/// Whether a value has at most so many bytes when it is written as JSON.
pub(super) fn fits_bytes(value: &Value, most: usize) -> bool {
    serde_json::to_writer(Room(most), value).is_ok()
}

/// A writer that keeps nothing and is full at some time.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_and_levels_are_counted_up_to_a_limit() {
        let most = Extent { values: 5, depth: 2 };
        for (value, expected) in [
            (json!(1), Some((1, 0))),
            (json!({"a": [1, 2]}), Some((4, 2))),
            (json!([1, 2, 3, 4]), Some((5, 1))),
            (json!([1, 2, 3, 4, 5]), None),
            (json!([[[]]]), Some((3, 2))),
            (json!([[[1]]]), None),
        ] {
            let extent = Extent::within(&value, most).map(|extent| (extent.values, extent.depth));
            assert_eq!(extent, expected, "{value}");
        }
        assert!(fits_bytes(&json!("abc"), 5) && !fits_bytes(&json!("abc"), 4));
    }
}
