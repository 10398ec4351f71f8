//! The fields of a request's JSON object, read one by one, so that an error names its field.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::errors::ApiError;

/// The object of a request. Fields that nobody reads are ignored, because clients send many.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub fn new(value: Value) -> Result<Fields, ApiError> {
        match value {
            Value::Object(fields) => Ok(Fields(fields)),
            _ => Err(ApiError::new(axum::http::StatusCode::BAD_REQUEST, "the body is not a JSON object")),
        }
    }

    /// The fields that nobody has taken.
    pub fn into_rest(self) -> Map<String, Value> {
        self.0
    }

    /// Takes a field; `None` if it is missing or null.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match serde_json::from_value(value) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(ApiError::field(name, format!("`{name}`: {error}"))),
            },
        }
    }

    /// Takes a field that has to be there.
    pub fn need<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, ApiError> {
        self.take(name)?.ok_or_else(|| ApiError::field(name, format!("`{name}` is missing")))
    }

    /// Takes the first of two names that is there.
    pub fn either<T: DeserializeOwned>(&mut self, first: &str, second: &str) -> Result<Option<T>, ApiError> {
        let (one, other) = (self.take(first)?, self.take(second)?);
        Ok(one.or(other))
    }

    /// Takes a number in a range.
    pub fn number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<f32>,
    ) -> Result<Option<f32>, ApiError> {
        let value: Option<f32> = self.take(name)?;
        match value {
            Some(value) if !range.contains(&value) => {
                let (from, to) = (range.start(), range.end());
                Err(ApiError::field(name, format!("`{name}` is {value}, expected {from} to {to}")))
            }
            value => Ok(value),
        }
    }

    /// Takes a whole number in a range.
    pub fn count(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, ApiError> {
        let value: Option<i64> = self.take(name)?;
        let Some(value) = value else { return Ok(None) };
        let found = usize::try_from(value).ok().filter(|value| range.contains(value));
        let (from, to) = (range.start(), range.end());
        let wrong = || {
            let expected =
                if *to == usize::MAX { format!("at least {from}") } else { format!("{from} to {to}") };
            ApiError::field(name, format!("`{name}` is {value}, expected {expected}"))
        };
        found.map(Some).ok_or_else(wrong)
    }

    /// Refuses a field that would change the meaning of the request, and that the server does not support.
    pub fn refuse(&self, name: &str) -> Result<(), ApiError> {
        let empty = match self.0.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        };
        if empty {
            return Ok(());
        }
        Err(ApiError::field(name, format!("`{name}` is not supported")).code("unsupported_parameter"))
    }
}

/// One text or several.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub(crate) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    pub fn into_vec(self) -> Vec<String> {
        match self {
            Texts::One(text) => vec![text],
            Texts::Many(texts) => texts,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_name_the_field() {
        let mut fields = Fields::new(json!({"n": "two", "top_p": 3, "x": null})).unwrap();
        let error = fields.take::<usize>("n").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("n"));
        assert!(error.message.contains("invalid type: string \"two\""), "{}", error.message);
        let error = fields.number("top_p", 0.0..=1.0).unwrap_err();
        assert_eq!(error.message, "`top_p` is 3, expected 0 to 1");
        assert_eq!(fields.take::<usize>("x").unwrap(), None);
        assert_eq!(fields.need::<usize>("y").unwrap_err().message, "`y` is missing");
        assert!(Fields::new(json!([1])).is_err());
    }

    #[test]
    fn what_is_not_supported_is_refused_unless_it_is_empty() {
        let fields = Fields::new(json!({"tools": [], "functions": [1], "store": false})).unwrap();
        assert!(fields.refuse("tools").is_ok() && fields.refuse("store").is_ok());
        assert!(fields.refuse("functions").is_err());
    }
}
