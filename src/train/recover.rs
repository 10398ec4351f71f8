//! Runs that survive the loss of the GPU.

use super::event::Event;
use crate::model::Model;

/// Runs `attempt`. If the GPU is lost meanwhile, opens it again, loads the model again, and runs `attempt`
/// again, which resumes from the last saved state. The result is the same, bit for bit. The first argument of
/// `attempt` is true for every attempt after the first.
///
/// A run ends with the error of the device if the GPU is lost again before another step is done, if it
/// cannot be opened again, or if the app released it.
pub(crate) fn recovering<T, E: std::fmt::Display>(
    model: &Model,
    on_event: &mut dyn FnMut(Event<'_>),
    mut attempt: impl FnMut(bool, &mut dyn FnMut(Event<'_>)) -> Result<T, E>,
) -> Result<T, E> {
    let mut again = false;
    // Steps and items done, so that a loss at the same place every time ends the run.
    let mut most = (0, 0);
    loop {
        let mut progress = !again;
        let generation = model.device().generation();
        let result = attempt(again, &mut |event| {
            match event {
                Event::Step(step) if step.number() > most.0 => {
                    (most.0, progress) = (step.number(), true);
                }
                Event::Counted(count) if count.done > most.1 => (most.1, progress) = (count.done, true),
                // The caller knows the plan already.
                Event::Planned(_) if again => return,
                _ => {}
            }
            on_event(event);
        });
        let error = match result {
            Err(error) if progress => error,
            result => return result,
        };
        if !model.is_lost_since(generation) || model.reload().is_err() {
            return Err(error);
        }
        on_event(Event::Reopened { reason: &error.to_string() });
        again = true;
    }
}
