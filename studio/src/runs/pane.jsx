// The right pane: training runs.
import { RunItem } from "./run.jsx";
import { runs } from "./runs.js";
import { StartRun } from "./start.jsx";

export function RunsPane() {
  return (
    <div class="runs">
      <header class="pane-head">
        <h2 class="pane-title">Runs</h2>
      </header>
      <div class="pane-scroll" tabindex={-1}>
        <StartRun />
        {runs.value.length === 0 && <p class="hint">Runs appear here, with their curves and sample replies.</p>}
        {runs.value.length > 0 && (
          <ol class="run-list" aria-label="Runs">
            {runs.value.map((run) => (
              <RunItem key={run.id} run={run} />
            ))}
          </ol>
        )}
      </div>
    </div>
  );
}
