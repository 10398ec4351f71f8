//! Errors as OpenAI's error objects.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::chat::ChatError;
use crate::error::ErrorKind;
use crate::generate::{GenerateError, SchedulerError};
use crate::principles::PrinciplesError;
use crate::reward::RewardError;
use crate::steer::SteerError;
use crate::tokenizer::TextError;

/// Seconds that a client should wait while the queue is full.
const RETRY_SECONDS: u64 = 1;

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    pub message: String,
    /// The field at fault.
    pub param: Option<String>,
    /// A word that programs can compare.
    pub code: Option<&'static str>,
    /// Further fields of the error object.
    pub more: Option<Box<(&'static str, Value)>>,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into(), param: None, code: None, more: None }
    }

    /// A field has a value that cannot be used.
    pub fn field(param: &str, message: impl Into<String>) -> ApiError {
        ApiError { param: Some(param.to_owned()), ..ApiError::new(StatusCode::BAD_REQUEST, message) }
    }

    pub fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, message).code("not_found")
    }

    pub fn conflict(message: impl Into<String>, code: &'static str) -> ApiError {
        ApiError::new(StatusCode::CONFLICT, message).code(code)
    }

    pub fn unprocessable(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message).code("internal")
    }

    /// The server has no model so far.
    pub fn no_model() -> ApiError {
        let message = "the server has no model: open one with POST /v1/catalog/NAME/open, or start it with `parr serve MODEL`";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).code("no_model")
    }

    /// The server is about to stop.
    pub fn draining() -> ApiError {
        let message = "the server is about to stop and takes no more requests";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).code("draining")
    }

    #[must_use]
    pub fn code(self, code: &'static str) -> ApiError {
        ApiError { code: Some(code), ..self }
    }

    #[must_use]
    pub fn param(self, param: &str) -> ApiError {
        ApiError { param: Some(param.to_owned()), ..self }
    }

    /// The kind of error, as OpenAI names it.
    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The body: `{"error": {...}}`.
    pub fn body(&self) -> Value {
        let mut error = json!({
            "message": self.message, "type": self.kind(), "param": self.param, "code": self.code,
        });
        if let Some(more) = &self.more {
            error[more.0] = more.1.clone();
        }
        json!({ "error": error })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = super::super::body::json_response(self.status, &self.body());
        let headers = response.headers_mut();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The status for an error of the library.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Argument | ErrorKind::Context => StatusCode::BAD_REQUEST,
        ErrorKind::Principles | ErrorKind::Mismatch | ErrorKind::Format | ErrorKind::Data => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ErrorKind::Run => StatusCode::CONFLICT,
        ErrorKind::Cancelled | ErrorKind::DeviceLost | ErrorKind::Memory => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Network => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn code_of(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NotFound => Some("not_found"),
        ErrorKind::Context => Some("context_length_exceeded"),
        ErrorKind::DeviceLost => Some("gpu_lost"),
        ErrorKind::Memory => Some("out_of_memory"),
        ErrorKind::Mismatch => Some("does_not_fit"),
        ErrorKind::Principles => Some("principles"),
        ErrorKind::Cancelled => Some("cancelled"),
        ErrorKind::Internal => Some("internal"),
        _ => None,
    }
}

impl From<crate::Error> for ApiError {
    fn from(error: crate::Error) -> ApiError {
        if let crate::Error::Generate(GenerateError::Scheduler(reason))
        | crate::Error::Steer(SteerError::Generate(GenerateError::Scheduler(reason))) = &error
        {
            return match reason {
                SchedulerError::Busy { .. } => {
                    ApiError::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).code("queue_full")
                }
                _ => ApiError::draining(),
            };
        }
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        // Errors name requests and questions by their index in a call, which has only one here.
        for start in ["request 0: ", "question 0: "] {
            message = message.replace(start, "");
        }
        let kind = error.kind();
        let mut answer = ApiError { code: code_of(kind), ..ApiError::new(status_of(kind), message) };
        if let crate::Error::Generate(GenerateError::Setting { setting, .. }) = &error {
            answer.param = Some((*setting).to_owned());
        }
        if kind == ErrorKind::Context {
            answer.param = Some("messages".to_owned());
        }
        answer
    }
}

macro_rules! through_the_library {
    ($($error:ty)*) => {$(
        impl From<$error> for ApiError {
            fn from(error: $error) -> ApiError {
                crate::Error::from(error).into()
            }
        }
    )*};
}

through_the_library! {
    crate::adapter::AdapterFileError
    crate::align::AlignError
    crate::hub::HubError
    crate::model::lora::AdapterError
    crate::settings::SettingsError
    crate::train::TrainError
    ChatError
    GenerateError
    PrinciplesError
    RewardError
    SteerError
}

impl From<SchedulerError> for ApiError {
    fn from(error: SchedulerError) -> ApiError {
        GenerateError::from(error).into()
    }
}

/// A text that cannot be encoded, or that the chat template refuses, is the client's.
impl From<TextError> for ApiError {
    fn from(error: TextError) -> ApiError {
        let answer = ApiError::from(crate::Error::from(error));
        let status = match answer.status {
            status if status.is_server_error() => StatusCode::BAD_REQUEST,
            status => status,
        };
        ApiError { status, ..answer }.param("messages")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_statuses_and_codes() {
        let busy = ApiError::from(SchedulerError::Busy { waiting: 3, most: 3 });
        assert_eq!((busy.status.as_u16(), busy.kind()), (429, "rate_limit_error"));
        assert_eq!(ApiError::from(SchedulerError::Stopped).status.as_u16(), 503);
        let long = GenerateError::ContextOverflow { request: 0, needed: 9, capacity: 8 };
        let long = ApiError::from(long);
        assert_eq!((long.status.as_u16(), long.code), (400, Some("context_length_exceeded")));
        assert!(long.message.starts_with("the prompt needs"), "{}", long.message);
        let wrong = GenerateError::Setting { request: 0, setting: "top_p", value: 2.0, expected: "0 to 1" };
        assert_eq!(ApiError::from(wrong).body()["error"]["param"], "top_p");
    }
}
