//! JSON objects with values by key and type, and errors that name file and key.

use std::path::Path;

use serde_json::Value;

use super::LoadError;

/// One JSON object of a file, with its position for messages.
pub(crate) struct Object<'a> {
    path: &'a Path,
    /// Keys that lead to this object, each followed by a dot.
    prefix: String,
    json: &'a Value,
}

impl<'a> Object<'a> {
    /// The outermost object of file `path`.
    pub(crate) fn new(path: &'a Path, json: &'a Value) -> Object<'a> {
        Object { path, prefix: String::new(), json }
    }

    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// The value of `key`; `null` counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a String> {
        self.json.as_object().into_iter().flat_map(|object| object.keys())
    }

    /// Whether the key is written, also as `null`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.json.get(key).is_some()
    }

    pub(crate) fn bad(&self, key: &str, rule: impl Into<String>) -> LoadError {
        LoadError::metadata(self.path, &format!("{}{key}", self.prefix), None, rule)
    }

    pub(crate) fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, LoadError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let wrong = || {
            let mut found = value.to_string();
            if found.chars().nth(40).is_some() {
                found = found.chars().take(40).chain("...".chars()).collect();
            }
            self.bad(key, format!("must be {wanted}, found {found}"))
        };
        read(value).map(Some).ok_or_else(wrong)
    }

    pub(crate) fn need<T>(&self, key: &str, found: Option<T>) -> Result<T, LoadError> {
        found.ok_or_else(|| self.bad(key, "is missing"))
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, LoadError> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, LoadError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, LoadError> {
        self.typed(key, "a whole number that is not negative", |value| usize::try_from(value.as_u64()?).ok())
    }

    pub(crate) fn need_count(&self, key: &str) -> Result<usize, LoadError> {
        self.need(key, self.count(key)?)
    }

    pub(crate) fn float(&self, key: &str) -> Result<Option<f32>, LoadError> {
        self.typed(key, "a number", |value| {
            value.as_f64().map(|float| float as f32).filter(|float| float.is_finite())
        })
    }

    /// One token id or a list of token ids.
    pub(crate) fn tokens(&self, key: &str) -> Result<Vec<u32>, LoadError> {
        let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
        let read = |value: &'a Value| match value {
            Value::Array(ids) => ids.iter().map(id).collect(),
            other => id(other).map(|id| vec![id]),
        };
        Ok(self.typed(key, "a token id or a list of token ids", read)?.unwrap_or_default())
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Object<'a>>, LoadError> {
        let json = self.typed(key, "an object", |value| value.is_object().then_some(value))?;
        let prefix = format!("{}{key}.", self.prefix);
        Ok(json.map(|json| Object { path: self.path, prefix, json }))
    }
}
