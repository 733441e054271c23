//! Where the references of a schema lead.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// All objects of a schema, whether they are schemas or not, and by which names they can be referred to.
///
/// What an `$id` does to the references below it has changed with every draft. So a reference leads to everything that it could
/// mean by any of them: what is counted along all of these ways is never less than what is walked.
pub(super) struct References<'a> {
    values: Vec<&'a Value>,
    /// The object with an `$id` around each object, which may be itself.
    resources: Vec<Option<usize>>,
    by_address: HashMap<*const Value, usize>,
    by_id: HashMap<&'a str, Vec<usize>>,
    by_anchor: HashMap<&'a str, Vec<usize>>,
    parents: Vec<Option<usize>>,
}

impl<'a> References<'a> {
    /// Of a schema, which is the first of all objects.
    pub(super) fn of(schema: &'a Value) -> Self {
        let mut references = Self {
            values: Vec::new(),
            resources: Vec::new(),
            by_address: HashMap::new(),
            by_id: HashMap::new(),
            by_anchor: HashMap::new(),
            parents: Vec::new(),
        };
        references.add(schema, None, None);
        references
    }

    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// An object, where the value is one.
    pub(super) fn index(&self, value: &Value) -> Option<usize> {
        self.by_address.get(&std::ptr::from_ref(value)).copied()
    }

    /// The fields of an object.
    pub(super) fn fields(&self, at: usize) -> Option<&'a Map<String, Value>> {
        self.values[at].as_object()
    }

    /// The objects that the references of an object may mean; or the reference that leads nowhere.
    pub(super) fn from(&self, at: usize) -> Result<Vec<usize>, String> {
        let Some(fields) = self.fields(at) else { return Ok(Vec::new()) };
        let mut targets = Vec::new();
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let Some(text) = fields.get(keyword).and_then(Value::as_str).filter(|text| !text.is_empty()) else {
                continue;
            };
            let found = self.meant(text, at);
            if found.is_empty() {
                return Err(text.chars().take(200).collect());
            }
            // A boolean that is meant leads no further.
            targets.extend(found.into_iter().filter_map(|value| self.index(value)));
            if keyword == "$recursiveRef" {
                targets.extend(self.by_anchor.get("").into_iter().flatten());
            }
        }
        targets.sort_unstable();
        targets.dedup();
        Ok(targets)
    }

    fn meant(&self, text: &str, from: usize) -> Vec<&'a Value> {
        let (base, fragment) = text.split_once('#').unwrap_or((text, ""));
        let resources: Vec<usize> = if base.is_empty() {
            std::iter::successors(self.resources[from], |at| self.parents[*at].and_then(|at| self.resources[at]))
                .chain([0])
                .collect()
        } else {
            self.by_id.get(base).cloned().unwrap_or_default()
        };
        let fragment = decoded(fragment);
        if fragment.is_empty() || fragment.starts_with('/') {
            return resources.into_iter().filter_map(|at| self.values[at].pointer(&fragment)).collect();
        }
        self.by_anchor.get(&*fragment).into_iter().flatten().map(|at| self.values[*at]).collect()
    }

    fn add(&mut self, value: &'a Value, parent: Option<usize>, resource: Option<usize>) {
        let Value::Object(fields) = value else {
            for item in value.as_array().into_iter().flatten() {
                self.add(item, parent, resource);
            }
            return;
        };
        let at = self.values.len();
        self.values.push(value);
        self.parents.push(parent);
        self.by_address.insert(value, at);
        let text = |keyword: &str| fields.get(keyword).and_then(Value::as_str);
        let mut resource = resource;
        for id in ["$id", "id"].into_iter().filter_map(text) {
            let (base, anchor) = id.split_once('#').unwrap_or((id, ""));
            if !base.is_empty() {
                self.by_id.entry(base).or_default().push(at);
                resource = Some(at);
            }
            if !anchor.is_empty() {
                self.by_anchor.entry(anchor).or_default().push(at);
            }
        }
        for anchor in ["$anchor", "$dynamicAnchor"].into_iter().filter_map(text) {
            self.by_anchor.entry(anchor).or_default().push(at);
        }
        if fields.get("$recursiveAnchor") == Some(&Value::Bool(true)) {
            self.by_anchor.entry("").or_default().push(at);
        }
        self.resources.push(resource);
        for field in fields.values() {
            self.add(field, Some(at), resource);
        }
    }
}

/// A fragment of a URI as the text that it stands for.
fn decoded(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        let hex = rest.as_slice().get(..2).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest.nth(1);
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_lead_to_everything_they_could_mean() {
        let schema = json!({
            "$defs": {
                "a": {"x": 1, "$anchor": "here"},
                "List[int]": {"x": 2},
                "yes": true,
                "inner": {"$id": "T0", "x": 3, "$defs": {"a": {"x": 4}}, "from": {"$ref": "#/$defs/a"}},
                "old": {"$id": "#old", "x": 5},
            }
        });
        let meant = |reference: &str| {
            let document = json!({"from": {"$ref": reference}, "schema": schema});
            let schema = {
                let mut schema = document["schema"].clone();
                schema["from"] = document["from"].clone();
                schema
            };
            let references = References::of(&schema);
            let from = references.index(&schema["from"]).unwrap();
            let found = references.from(from)?;
            Ok::<_, String>(
                found.iter().map(|at| references.values[*at]["x"].as_i64().unwrap_or(0)).collect::<Vec<_>>(),
            )
        };
        for (reference, expected) in [
            ("#/$defs/a", Ok(vec![1])),
            ("#here", Ok(vec![1])),
            ("#old", Ok(vec![5])),
            ("#", Ok(vec![0])),
            ("#/$defs/List%5Bint%5D", Ok(vec![2])),
            ("#/$defs/yes", Ok(vec![])),
            ("T0", Ok(vec![3])),
            ("T0#/$defs/a", Ok(vec![4])),
            ("", Ok(vec![])),
            ("#/$defs/b", Err("#/$defs/b".to_owned())),
            ("https://example.com/a.json", Err("https://example.com/a.json".to_owned())),
            ("#nowhere", Err("#nowhere".to_owned())),
        ] {
            assert_eq!(meant(reference), expected, "{reference}");
        }
        let references = References::of(&schema);
        let inner = references.index(&schema["$defs"]["inner"]["from"]).unwrap();
        assert_eq!(references.from(inner).map(|found| found.len()), Ok(2), "of the resource, and of the whole");
    }
}
