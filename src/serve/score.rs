//! `/v1/score`: replies scored under principles.

use std::sync::{Arc, PoisonError};

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::{Json, ok};
use super::jobs::CancelOnDrop;
use super::openai::errors::ApiError;
use super::state::{Shared, blocking};
use crate::generate::CancelToken;
use crate::principles::PrincipleSet;
use crate::reward::{Form, ScoreRequest};
use crate::steer::{Steering, Tell};

/// Maximum number of replies of a request.
const MOST_REPLIES: usize = 256;

/// `POST /v1/score`
pub(super) async fn score(State(state): Shared, Json(mut fields): Json) -> Result<Response, ApiError> {
    let served = state.served()?;
    let prompt: String = fields.need("prompt")?;
    let replies: Vec<String> = fields.need("replies")?;
    if replies.is_empty() || replies.len() > MOST_REPLIES {
        let message = format!("`replies` has {} texts, expected 1 to {MOST_REPLIES}", replies.len());
        return Err(ApiError::field("replies", message));
    }
    let reward: Option<String> = fields.take("reward")?;
    let certain = fields.take::<bool>("certain")?.unwrap_or(false);
    let given: Value = fields.take("principles")?.unwrap_or_default();
    let cancel = CancelToken::new();
    let _guard = CancelOnDrop(cancel.clone());
    let shared = Arc::clone(&state);
    let work = move || -> Result<Value, ApiError> {
        let principles = match given {
            Value::Null => PrincipleSet::default(),
            Value::String(text) => shared.principles.find(&text)?,
            rows => super::principles::set_of_rows(rows)?,
        };
        let steering = Steering { principles, tell: Tell::Nobody, ..Steering::default() };
        let used = steering.used();
        let definitions: Vec<&str> = used.iter().map(|one| one.definition.as_str()).collect();
        let weights: Vec<f32> = used.iter().map(|one| one.weight as f32).collect();
        let (name, reward) = served.rewards.open(reward.as_deref())?;
        let mut reward = reward.lock().unwrap_or_else(PoisonError::into_inner);
        let pointwise = reward.reward_card().form == Form::Pointwise;
        let mut questions = Vec::new();
        for reply in &replies {
            let whole = ScoreRequest {
                weights: weights.clone(),
                ..ScoreRequest::new(&prompt, reply, definitions.clone())
            };
            questions.push(whole);
            if !pointwise {
                let alone = definitions.iter().map(|one| ScoreRequest::new(&prompt, reply, vec![*one]));
                questions.extend(alone);
            }
        }
        let scores = reward.score(&questions, &cancel, &mut |_| {})?;
        let each = if pointwise { 1 } else { 1 + definitions.len() };
        let certain = if certain && pointwise && !definitions.is_empty() {
            Some(reward.certainty(&definitions, &cancel)?)
        } else {
            None
        };
        let row = |scores: &[crate::reward::Score]| {
            let by_principle: Vec<f32> = if pointwise {
                // Without principles there is one part, for general quality.
                scores[0].parts.iter().copied().take(definitions.len()).collect()
            } else {
                scores[1..].iter().map(|score| score.value).collect()
            };
            json!({ "score": scores[0].value, "by_principle": by_principle, "certain": certain })
        };
        let principles = used.iter().map(|one| {
            json!({
                "id": one.id, "name": one.dimension, "definition": one.definition, "weight": one.weight,
            })
        });
        Ok(json!({
            "reward": name,
            "principles": principles.collect::<Vec<Value>>(),
            "scores": scores.chunks(each).map(row).collect::<Vec<Value>>(),
        }))
    };
    Ok(ok(&blocking(work).await??))
}
